package main

import (
	"context"
	"errors"
	"iter"

	"hubwatch/handlers/table"
)

// readTable reads a row of a table of the account with this table endpoint, as
// whoever is signed in.
func readTable(ctx context.Context, endpoint, name string) error {
	return readRow(ctx, table.Settings{ServiceURI: endpoint}, name)
}

// readRow reads a row of a table of the account that settings name. It looks for
// alerts, of which the quarantine has none: to have read it is enough.
func readRow(ctx context.Context, settings table.Settings, name string) error {
	settings.AlertsTable, settings.QuarantineTable = name, alertsTable
	if name == alertsTable {
		settings.QuarantineTable = quarantineTable
	}
	store, err := table.Open(settings)
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(store.List(ctx, ""))
	defer stop()
	_, err, _ = next()
	return err
}

// tableResult is the result for what reading a table came to. An error that
// stands for itself is what the service answered; one with another inside is
// that nothing was.
func tableResult(err error) result {
	switch {
	case err == nil:
		return ok("it can be read with the identity of whoever runs this")
	case errors.Unwrap(err) != nil:
		return unknown("%s", reason(err))
	default:
		return wrong("%s; to look is enough with Storage Table Data Reader, the parameter readers of infra/main.bicep", reason(err))
	}
}
