package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// checkCoverage returns a check for each path, one of the paths into which they fork, and one of when each hub was last heard of. A hub that
// there is and whose log was never heard of is named, but is no fault for certain. That
// no tag is wanted as a canary of changes is right; checkArrivals says when the last change came.
func checkCoverage(a azure, deployed func(context.Context) (site, error), hubs func(context.Context) ([]string, error)) []check {
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
	checks = append(checks, check{"canaries of the event subscriptions", func(ctx context.Context) Result {
		c, err := read(ctx)
		if err != nil {
			return tableResult(err)
		}
		return forksResult(coverage.NewReports(c.trips, c.heard, time.Now()))
	}})
	return append(checks, check{"hubs that are heard of", func(ctx context.Context) Result {
		c, err := read(ctx)
		switch {
		case err != nil:
			return tableResult(err)
		}
		var said, never []string
		logged := map[string]bool{} // the hubs whose log was heard of, or of which it is known that it was not
		for _, h := range c.heard {
			if h.Source == alert.Connections {
				logged[h.Hub] = true
			}
			if h.Seen.IsZero() {
				never = append(never, h.Hub)
				continue
			}
			said = append(said, fmt.Sprintf("%s, %s: %s ago", h.Hub, h.Source, coverage.Ago(time.Since(h.Seen))))
		}
		ids, err := hubs(ctx) // If they cannot be listed, another check says so.
		for _, id := range ids {
			if name := (alert.Hub{Name: lastOf(id)}).Key(); err == nil && !logged[name] {
				never = append(never, name)
			}
		}
		switch {
		case len(never) > 0:
			slices.Sort(never)
			said = append([]string{fmt.Sprintf("the Connections log of %s was never heard of: the first message may come 90 minutes after the diagnostic setting was made, and a hub to which no device connects logs nothing", strings.Join(never, ", "))}, said...)
			return unknown("%s", strings.Join(said, "; "))
		case len(said) == 0:
			return unknown("none was ever heard of: the first message of a log may come 90 minutes after the diagnostic setting was made")
		}
		return ok("%s", strings.Join(said, "; "))
	}})
}

// forksResult says of each function of a custom topic whether canaries come to it.
func forksResult(reports []coverage.Report) Result {
	var broken, other, works []string
	for _, r := range reports {
		_, function, ok := r.Path.Forked()
		switch said := fmt.Sprintf("%s: %s", r.Path, r.Text); {
		case !ok:
		case r.Wrong():
			broken = append(broken, said)
		case r.State == coverage.Works:
			works = append(works, function)
		default:
			other = append(other, said)
		}
	}
	switch {
	case len(broken) > 0:
		return wrong("%s: see the event subscription and the function of the same name; deploy infra/subscriptions.bicep", strings.Join(broken, "; "))
	case len(other) > 0:
		return unknown("%s", strings.Join(other, "; "))
	case len(works) == 0:
		return unknown("no canary was ever sent there")
	}
	return ok("canaries came to %s", strings.Join(works, ", "))
}
