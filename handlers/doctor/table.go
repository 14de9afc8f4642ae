package doctor

import (
	"context"
	"errors"
	"iter"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/table"
	"hubwatch/handlers/verdict"
)

// readTable reads a row of a table of the account with this table endpoint, as
// whoever is signed in.
func readTable(ctx context.Context, endpoint, name string) error {
	account, err := table.Open(table.Settings{ServiceURI: endpoint})
	if err != nil {
		return err
	}
	return readRow(ctx, account, name)
}

// readRow reads a row of a table. It looks for alerts, of which the quarantine has
// none: to have read is enough.
func readRow(ctx context.Context, account *table.Account, name string) error {
	next, stop := iter.Pull2(account.Alerts(name).List(ctx, alert.Query{}))
	defer stop()
	_, err, _ := next()
	return err
}

// slowest are the settings with which verdicts are due latest. The app does not tell its own
// (app.Settings has the bounds).
var slowest = verdict.Settings{RenewalGrace: time.Hour, MissingAfter: 26 * time.Hour, Lateness: verdict.Defaults().Lateness}

// oldestVerdict looks for the oldest verdict that is late, as whoever is signed in.
func oldestVerdict(ctx context.Context, endpoint string) (time.Time, error) {
	account, err := table.Open(table.Settings{ServiceURI: endpoint})
	if err != nil {
		return time.Time{}, err
	}
	return account.State("").Oldest(ctx, slowest, time.Now())
}

// mostHeld is how many rows of the quarantine are read at most.
const mostHeld = 10_000

// readBacklogs reads what waits in the quarantine, and whether alerts of the same functions
// are known, as whoever is signed in.
func readBacklogs(ctx context.Context, endpoint string) ([]table.Backlog, bool, error) {
	account, err := table.Open(table.Settings{ServiceURI: endpoint})
	if err != nil {
		return nil, false, err
	}
	now := time.Now()
	list, more, err := account.Quarantine(quarantineTable).Backlogs(ctx, now, mostHeld)
	if err != nil {
		return nil, false, err
	}
	return list, more, account.Alerts(alertsTable).Know(ctx, list, now, func(function string) string { return detectorOf(function).AlertType })
}

// tableResult is the result for what reading a table came to. A service error, or
// that there is no such table, means that the service answered. Any other error
// means that it could not be asked.
func tableResult(err error) Result {
	var answer *table.ServiceError
	switch {
	case err == nil:
		return ok("it can be read with the identity of whoever runs this")
	case errors.As(err, &answer), errors.Is(err, alert.ErrAbsent):
		return wrong("%s; to look is enough with Storage Table Data Reader, the parameter readers of infra/main.bicep", reason(err))
	default:
		return unknown("%s", reason(err))
	}
}
