package app

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/table"
)

// Setting is an application setting, which the Functions host passes on as an
// environment variable. Names follow the convention for identity-based connections
// of Azure Functions
// (https://learn.microsoft.com/azure/azure-functions/functions-reference#common-properties-for-identity-based-connections).
type Setting struct {
	Name    string
	Meaning string // in Markdown, for docs/design.md and the operator
	Default string // "" for none
	Example string // a value that works
	// HostOnly says that the Functions host reads the setting, and the handler does
	// not.
	HostOnly bool
}

// Names of the settings that the handler reads.
const (
	settingStorage         = "AlertsStorage"
	settingTableServiceURI = "AlertsStorage__tableServiceUri"
	settingClientID        = "AlertsStorage__clientId"
	settingCredential      = "AlertsStorage__credential" // #nosec G101 -- the name of the setting that says which kind of identity
	settingAlertsTable     = "AlertsTable"
	settingQuarantineTable = "QuarantineTable"
	settingInferredAlerts  = "InferredAlerts"
)

// Names of the settings that the Functions host reads.
const (
	settingHubLogs          = "HubLogs"
	settingHubLogsEventHub  = "HubLogsEventHub"
	settingConnectionEvents = "ConnectionEvents"
)

// Settings are all application settings of hubwatch.
var Settings = []Setting{
	{
		Name:    settingStorage,
		Meaning: "connection string of the storage account; `UseDevelopmentStorage=true` for Azurite",
		Example: "UseDevelopmentStorage=true",
	},
	{
		Name:    settingTableServiceURI,
		Meaning: "instead of a connection string: the table endpoint, used with a Microsoft Entra identity",
		Example: "https://contoso.table.core.windows.net",
	},
	{
		Name:    settingCredential,
		Meaning: "`managedidentity`: use the identity of the app alone, which is the default in Azure. Elsewhere the credential is the Azure CLI's and its like",
		Example: "managedidentity",
	},
	{
		Name:    settingClientID,
		Meaning: "client id of a user-assigned identity",
		Example: "00000000-0000-0000-0000-0000000000c1",
	},
	{
		Name:    settingAlertsTable,
		Meaning: "table of alerts and evidence",
		Default: "alerts",
		Example: "alerts",
	},
	{
		Name:    settingQuarantineTable,
		Meaning: "table of what could not be judged",
		Default: "quarantine",
		Example: "quarantine",
	},
	{
		Name:    settingInferredAlerts,
		Meaning: "`false`: of failed connections, alert only on those whose cause the service states",
		Default: "true",
		Example: "false",
	},
	{
		Name:     settingHubLogs,
		Meaning:  "connection of the event hub with the resource logs, whose messages the host gives to the relay",
		Example:  "`HubLogs__fullyQualifiedNamespace`=contoso.servicebus.windows.net",
		HostOnly: true,
	},
	{
		Name:     settingHubLogsEventHub,
		Meaning:  "name of the event hub",
		Example:  "connections",
		HostOnly: true,
	},
	{
		Name:     settingConnectionEvents,
		Meaning:  "connection of the custom topic to which the host publishes the relay's events",
		Example:  "`ConnectionEvents__topicEndpointUri`=https://contoso.westeurope-1.eventgrid.azure.net/api/events",
		HostOnly: true,
	},
}

// Config is what the settings say.
type Config struct {
	Storage         table.Settings
	AlertsTable     string
	QuarantineTable string
	InferredAlerts  bool
}

// Read reads the settings that the handler has a use for. Its error names each
// setting that is wrong.
func Read(getenv func(string) string) (Config, error) {
	var errs []error
	value := func(name string) string {
		i := slices.IndexFunc(Settings, func(s Setting) bool { return s.Name == name })
		return cmp.Or(getenv(name), Settings[i].Default)
	}
	tableName := func(setting string) string {
		name := value(setting)
		if err := table.CheckName(name); err != nil {
			errs = append(errs, fmt.Errorf("setting %s: %w", setting, err))
		}
		return name
	}
	c := Config{
		Storage: table.Settings{
			ConnectionString: value(settingStorage),
			ServiceURI:       value(settingTableServiceURI),
			// Azure sets IDENTITY_ENDPOINT where an app has a managed identity
			// (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference).
			ManagedIdentity: value(settingCredential) == "managedidentity" || getenv("IDENTITY_ENDPOINT") != "",
			ClientID:        value(settingClientID),
		},
		AlertsTable:     tableName(settingAlertsTable),
		QuarantineTable: tableName(settingQuarantineTable),
	}
	if strings.EqualFold(c.AlertsTable, c.QuarantineTable) {
		errs = append(errs, fmt.Errorf("settings %s and %s: both are %q, want two tables", settingAlertsTable, settingQuarantineTable, c.AlertsTable))
	}
	var err error
	if c.InferredAlerts, err = strconv.ParseBool(value(settingInferredAlerts)); err != nil {
		errs = append(errs, fmt.Errorf("setting %s: want true or false, have %q", settingInferredAlerts, value(settingInferredAlerts)))
	}
	return c, errors.Join(errs...)
}

// detectors returns the detectors as the settings want them.
func (c Config) detectors() []detector.Detector {
	all := slices.Clone(detector.All)
	if !c.InferredAlerts {
		for i, d := range all {
			all[i] = detector.StatedOnly(d)
		}
	}
	return all
}
