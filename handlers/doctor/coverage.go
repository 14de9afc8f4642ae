package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/table"
)

// sights is what the app has written of what it hears.
type sights struct {
	heard []alert.Heard
	trips []coverage.Trip
}

// readCoverage reads when hubs were heard of and what is known of canaries, from the table of
// alerts in the account with this table endpoint, as whoever is signed in.
func readCoverage(ctx context.Context, endpoint string) (c sights, err error) {
	account, err := table.Open(table.Settings{ServiceURI: endpoint})
	if err != nil {
		return c, err
	}
	alerts := account.Alerts(alertsTable)
	if c.heard, err = alerts.LastHeard(ctx); err == nil {
		c.trips, err = alerts.Trips(ctx)
	}
	return c, err
}

// checkCoverage returns a check for each path, and one of when each hub was last heard of. That
// no tag is wanted as a canary of changes is right; checkArrivals says when the last change came.
func checkCoverage(a azure, deployed func(context.Context) (site, error)) []check {
	read := once(func(ctx context.Context) (sights, error) {
		s, err := deployed(ctx)
		switch {
		case err != nil:
			return sights{}, fmt.Errorf("the app does not tell its storage account: %s", reason(err))
		case s.tables == "":
			return sights{}, errors.New("the app does not tell its storage account")
		}
		return a.coverage(ctx, s.tables)
	})
	var checks []check
	for _, path := range coverage.Paths {
		checks = append(checks, check{"canary of the path " + string(path), func(ctx context.Context) Result {
			c, err := read(ctx)
			if err != nil {
				return tableResult(err)
			}
			for _, r := range coverage.NewReports(c.trips, c.heard, time.Now()) {
				switch {
				case r.Path != path:
				case r.Wrong():
					return wrong("%s; the path is: %s; the other lines say which part is missing", r.Text, path.Words())
				case r.State == coverage.Works, path == coverage.Changes && r.Token == "":
					return ok("%s", r.Text)
				default:
					return unknown("%s", r.Text)
				}
			}
			return unknown("nothing is known of it")
		}})
	}
	return append(checks, check{"hubs that are heard of", func(ctx context.Context) Result {
		c, err := read(ctx)
		switch {
		case err != nil:
			return tableResult(err)
		case len(c.heard) == 0:
			return unknown("none was ever heard of: the first message of a log may come 90 minutes after the diagnostic setting was made")
		}
		var said []string
		for _, h := range c.heard {
			said = append(said, fmt.Sprintf("%s, %s: %s ago", h.Hub, h.Source, coverage.Ago(time.Since(h.Seen))))
		}
		return ok("%s", strings.Join(said, "; "))
	}})
}
