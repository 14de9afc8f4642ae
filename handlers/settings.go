package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/table"
)

// Names of the application settings. docs/design.md says what each is for.
const (
	settingStorage         = "AlertsStorage"
	settingTableServiceURI = "AlertsStorage__tableServiceUri"
	settingClientID        = "AlertsStorage__clientId"
	settingCredential      = "AlertsStorage__credential" // #nosec G101 -- the name of the setting that says which kind of identity
	settingAlertsTable     = "AlertsTable"
	settingQuarantineTable = "QuarantineTable"
	settingInferredAlerts  = "InferredAlerts"
)

// tableSettings reads where the tables are from the application settings, which
// the Functions host passes on as environment variables.
func tableSettings(getenv func(string) string) table.Settings {
	return table.Settings{
		ConnectionString: getenv(settingStorage),
		ServiceURI:       getenv(settingTableServiceURI),
		// Azure sets IDENTITY_ENDPOINT where an app has a managed identity
		// (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference).
		ManagedIdentity: getenv(settingCredential) == "managedidentity" || getenv("IDENTITY_ENDPOINT") != "",
		ClientID:        getenv(settingClientID),
		AlertsTable:     cmp.Or(getenv(settingAlertsTable), "alerts"),
		QuarantineTable: cmp.Or(getenv(settingQuarantineTable), "quarantine"),
	}
}

// detectors returns the detectors as the application settings want them: without
// what they only infer if InferredAlerts is false.
func detectors(getenv func(string) string) ([]detector.Detector, error) {
	inferred, err := strconv.ParseBool(cmp.Or(getenv(settingInferredAlerts), "true"))
	if err != nil {
		return nil, fmt.Errorf("setting %s: want true or false, have %q", settingInferredAlerts, getenv(settingInferredAlerts))
	}
	all := slices.Clone(detector.All)
	if !inferred {
		for i, d := range all {
			all[i] = detector.StatedOnly(d)
		}
	}
	return all, nil
}
