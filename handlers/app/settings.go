package app

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/notify"
	"hubwatch/handlers/reach"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/table"
	"hubwatch/handlers/topic"
	"hubwatch/handlers/verdict"
)

// Setting is an application setting, which the Functions host passes on as an
// environment variable. Names follow the convention for identity-based connections
// of Azure Functions
// (https://learn.microsoft.com/azure/azure-functions/functions-reference#common-properties-for-identity-based-connections).
type Setting struct {
	Name    string
	Meaning string // in Markdown, for docs/design.md and the operator
	Default string // "" for none
	Example string // a value that works, in Markdown if HostOnly
	// HostOnly says that only the Functions host reads the setting.
	HostOnly bool
	// Secret says that the value has a secret, which is never shown. A mistake in it does not
	// keep the handler from starting.
	Secret bool
	// Check returns what is wrong with a value, in words that follow the name of
	// the setting. It looks at the value alone, and not at other settings. It is
	// not called with an empty value. A nil Check means that the handler takes
	// any value, or that HostOnly is true.
	Check func(value string) error
}

// Names of the settings that the handler reads.
const (
	settingStorage         = "AlertsStorage"
	settingTableServiceURI = "AlertsStorage__tableServiceUri"
	settingServiceURI      = "AlertsStorage__serviceUri"
	settingClientID        = "AlertsStorage__clientId"
	settingResourceID      = "AlertsStorage__managedIdentityResourceId"
	settingCredential      = "AlertsStorage__credential" // #nosec G101 -- the name of the setting that says which kind of identity
	settingAlertsTable     = "AlertsTable"
	settingQuarantineTable = "QuarantineTable"
	settingSuppressions    = "SuppressionsTable"
	settingInferredAlerts  = "InferredAlerts"
	settingState           = "StateStorage"
	settingStateURI        = "StateStorage__tableServiceUri"
	settingStateTables     = "StateTables"
	settingTopicEndpoint   = "ConnectionEvents__topicEndpointUri"
	settingAlertEvents     = "AlertEvents__topicEndpointUri"
	settingNotifyUrls      = notify.SettingUrls
	settingNotifyNamed     = notify.SettingPrefix + "<name>"
	settingDigestAfter     = "DigestAfter"
	settingConsoleURL      = "ConsoleUrl"

	settingSentinelEndpoint = notify.SettingSentinelEndpoint
	settingSentinelRule     = notify.SettingSentinelRule

	settingRenewalGrace   = "RenewalGrace"
	settingMissingAfter   = "MissingAfter"
	settingRenewalAddress = "RenewalAddress"
	settingStormDevices   = "StormDevices"
	settingSurgeDevices   = "SurgeDevices"
	settingLogClock       = "LogClock"
	settingOwn            = "OwnResources"
	settingExpectedHubs   = "ExpectedHubs"
	settingCanaryEventHub = "CanaryEventHubUri"
	settingCanaryTag      = "CanaryTagUri"
	settingCanaryPatience = "CanaryPatience"
)

// Names of the settings that the Functions host reads.
const (
	settingHubLogs         = "HubLogs"
	settingHubLogsEventHub = "HubLogsEventHub"
)

// Settings are all application settings of hubwatch.
var Settings = []Setting{
	{
		Name:    settingStorage,
		Meaning: "connection string of the storage account; `UseDevelopmentStorage=true` for Azurite",
		Example: "UseDevelopmentStorage=true",
		Check:   table.CheckConnectionString,
	},
	{
		Name:    settingTableServiceURI,
		Meaning: "instead of a connection string: the table endpoint, used with a Microsoft Entra identity",
		Example: "https://contoso.table.core.windows.net",
		Check:   table.CheckServiceURI,
	},
	{
		Name:    settingServiceURI,
		Meaning: "another name of `AlertsStorage__tableServiceUri`; if both are set, `AlertsStorage__tableServiceUri` counts",
		Example: "https://contoso.table.core.windows.net",
		Check:   table.CheckServiceURI,
	},
	{
		Name:    settingCredential,
		Meaning: "`managedidentity`: use the identity of the app alone, which is the default in Azure. Elsewhere the credential comes from the Azure CLI and similar tools",
		Example: "managedidentity",
		Check:   checkCredential,
	},
	{
		Name:    settingClientID,
		Meaning: "client id of a user-assigned identity; without it `AZURE_CLIENT_ID` if that is set",
		Example: "00000000-0000-0000-0000-0000000000c1",
		Check:   checkClientID,
	},
	{
		Name:    settingResourceID,
		Meaning: "instead of the client id: resource id of a user-assigned identity",
		Example: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-hubwatch/providers/Microsoft.ManagedIdentity/userAssignedIdentities/hubwatch",
		Check:   checkResourceID,
	},
	{
		Name:    settingAlertsTable,
		Meaning: "table of alerts and evidence",
		Default: "alerts",
		Example: "alerts",
		Check:   table.CheckName,
	},
	{
		Name:    settingQuarantineTable,
		Meaning: "table of what could not be judged",
		Default: "quarantine",
		Example: "quarantine",
		Check:   table.CheckName,
	},
	{
		Name:    settingSuppressions,
		Meaning: "table of the rules about which alerts nobody is told of",
		Default: "suppressions",
		Example: "suppressions",
		Check:   table.CheckName,
	},
	{
		Name:    settingInferredAlerts,
		Meaning: "`false`: alert on a failed connection only if the service states its cause",
		Default: "true",
		Example: "false",
		Check:   checkBool,
	},
	{
		Name:    settingStateURI,
		Meaning: "table endpoint of the account with the state of the Connections log, from which the app may delete; used with the identity of `AlertsStorage__tableServiceUri`, and needed with it",
		Example: "https://contosostate.table.core.windows.net",
		Check:   table.CheckServiceURI,
	},
	{
		Name:    settingState,
		Meaning: "instead: connection string of that account; without both, the state is in the account of the connection string `AlertsStorage`",
		Example: "UseDevelopmentStorage=true",
		Check:   table.CheckConnectionString,
	},
	{
		Name:    settingStateTables,
		Meaning: "what the names of the tables of the state begin with, if several apps keep theirs in one account",
		Example: "contoso",
		Check:   table.CheckName,
	},
	{
		Name:    settingTopicEndpoint,
		Meaning: "custom topic to which verdicts on the Connections log are published, with the identity of `AlertsStorage__tableServiceUri`",
		Example: "https://contoso.westeurope-1.eventgrid.azure.net/api/events",
		Check:   topic.CheckEndpoint,
	},
	{
		Name:    settingAlertEvents,
		Meaning: "custom topic to which an event is published when an alert is raised or reopened, with the identity of `AlertsStorage__tableServiceUri`; without it nobody is told",
		Example: "https://contoso-alerts.westeurope-1.eventgrid.azure.net/api/events",
		Check:   topic.CheckEndpoint,
	},
	{
		Name:    settingNotifyUrls,
		Meaning: "whom to tell of alerts, and how: URLs with white space between them ([notify.md](notify.md)); a reference to a Key Vault works",
		Example: "slack+https://hooks.slack.com/services/T00000000/B00000000/contoso#severity=Medium",
		Secret:  true,
		Check:   checkChannels,
	},
	{
		Name:    settingNotifyNamed,
		Meaning: "instead, or besides: one URL, of the channel with this name",
		Example: "smtp://hubwatch:contoso@mail.contoso.com?from=hubwatch@contoso.com&to=security@contoso.com",
		Secret:  true,
		Check:   checkChannels,
	},
	{
		Name:    settingDigestAfter,
		Meaning: "how many alerts of a hub, of one severity and the higher ones, are told one by one within ten minutes; those beyond are told in one digest; `0`: all are told one by one",
		Default: "20",
		Example: "20",
		Check:   checkDigestAfter,
	},
	{
		Name:    settingConsoleURL,
		Meaning: "address of the console, so that messages link to it",
		Example: "https://contoso-console.azurewebsites.net",
		Check:   checkConsoleURL,
	},
	{
		Name:    settingSentinelEndpoint,
		Meaning: "where alerts are sent to Microsoft Sentinel, with the identity of `AlertsStorage__tableServiceUri` ([sentinel.md](sentinel.md)); without it none are",
		Example: "https://contoso.westeurope-1.ingest.monitor.azure.com",
		Check:   notify.CheckSentinelEndpoint,
	},
	{
		Name:    settingSentinelRule,
		Meaning: "immutable id of the data collection rule that takes them",
		Example: "dcr-00000000000000000000000000000001",
		Check:   notify.CheckSentinelRule,
	},
	{
		Name:    settingRenewalGrace,
		Meaning: "how long a device may take to connect again after its token expired, as an ISO 8601 duration. Clients come back within seconds, and back off to minutes",
		Default: "PT10M",
		Example: "PT10M",
		Check:   checkDuration(time.Minute, time.Hour),
	},
	{
		Name:    settingMissingAfter,
		Meaning: "when it is said that a device did not come back. A lost log record shows by the end of the next session only, so a shorter time makes false alerts, which are taken back later; `PT0M` says it as soon as the grace is over",
		Default: "PT90M",
		Example: "PT90M",
		Check:   checkDuration(0, 26*time.Hour),
	},
	{
		Name:    settingRenewalAddress,
		Meaning: "`network`: a session that is taken up from another network is an alert, which is right for fleets that stand still. `any`: it is not, since mobile devices change their network",
		Default: anyAddress,
		Example: sameNetwork,
		Check:   checkRenewalAddress,
	},
	{
		Name:    settingStormDevices,
		Meaning: "from how many devices of a hub on, within ten minutes and for one cause, their failures are one alert about the hub",
		Default: "100",
		Example: "100",
		Check:   checkStormDevices,
	},
	{
		Name:    settingSurgeDevices,
		Meaning: "from how many devices of a hub on, within ten minutes, connections that renew no session are an alert about the hub, if they are more than twice as many as before; `0`: never",
		Default: "1000",
		Example: "1000",
		Check:   checkSurgeDevices,
	},
	{
		Name:    settingLogClock,
		Meaning: "`true`: after an outage the verdicts that wait for a time wait until the log has been read up to it. `false` for trying out, where the log is not continuous",
		Default: "true",
		Example: "false",
		Check:   checkBool,
	},
	{
		Name:    settingOwn,
		Meaning: "what hubwatch itself is made of: the resource id of the function app, and names of other resources in its group, with commas between them. Resources whose names begin with that of the app and a hyphen need not be named. Alerts about hubwatch itself are about these; without the setting, about all resources that are watched",
		Example: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Web/sites/hubwatch-contoso,hubwatchabc",
		Check:   checkOwn,
	},
	{
		Name:    settingExpectedHubs,
		Meaning: "names of the hubs whose logs are sent to hubwatch, with commas between them, so that `hubwatch coverage`, the console and the doctor say of which of them [nothing ever came](#coverage-and-canaries)",
		Example: "contoso-hub,contoso-spare",
		Check:   checkExpectedHubs,
	},
	{
		Name:    settingCanaryEventHub,
		Meaning: "address at which the event hub with the resource logs takes messages, for [canaries](#coverage-and-canaries), with the identity of `AlertsStorage__tableServiceUri`; without it none are sent there",
		Example: "https://contoso.servicebus.windows.net/connections/messages",
		Check:   topic.CheckEventHub,
	},
	{
		Name:    settingCanaryTag,
		Meaning: "address at which Azure Resource Manager takes the tags of one resource of hubwatch, of which the app writes one a day as a [canary](#coverage-and-canaries), with the identity of `AlertsStorage__tableServiceUri`; without it none is written",
		Example: "https://management.azure.com/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.ManagedIdentity/userAssignedIdentities/hubwatch-contoso/providers/Microsoft.Resources/tags/default",
		Check:   topic.CheckTag,
	},
	{
		Name:    settingCanaryPatience,
		Meaning: "how long a canary may take, as an ISO 8601 duration, and a sixth of what a tag may take. A path that takes longer is broken",
		Default: "PT10M",
		Example: "PT10M",
		Check:   checkDuration(time.Second, 50*time.Minute),
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
}

// refused are the settings of the convention that hubwatch does not support, and
// what to do instead. If hubwatch ignored one, it would use another account or
// identity than the user named. The convention is in the Functions reference, in
// the bindings of tables
// (https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-table-output#connections)
// and in Azure/azure-sdk-for-net, Microsoft.Extensions.Azure,
// ClientFactory.CreateCredential.
var refused = []struct{ name, instead string }{
	{"accountName", "works for AzureWebJobsStorage alone: say " + settingTableServiceURI},
	{"endpoint", "say " + settingTableServiceURI},
	{"connectionString", "say " + settingStorage},
	{"blobServiceUri", "is of another service of the storage account: say " + settingTableServiceURI},
	{"queueServiceUri", "is of another service of the storage account: say " + settingTableServiceURI},
	{"managedIdentityClientId", "say " + settingClientID},
	{"managedIdentityObjectId", "say " + settingClientID + " or " + settingResourceID},
	{"tenantId", anotherIdentity},
	{"clientSecret", anotherIdentity},
	{"clientCertificate", anotherIdentity},
	{"clientCertificateStoreName", anotherIdentity},
	{"clientCertificateStoreLocation", anotherIdentity},
	{"tokenFilePath", anotherIdentity},
	{"additionallyAllowedTenants", anotherIdentity},
	{"azureCloud", anotherIdentity},
	{"serviceConnectionId", anotherIdentity},
	{"systemAccessToken", anotherIdentity},
}

const anotherIdentity = "hubwatch knows managed identities in its own tenant; on another machine leave it out and use az login, or the environment variables AZURE_TENANT_ID, AZURE_CLIENT_ID and so on of the Azure SDK"

// guid is the form of a client id.
var guid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// identityID is the resource id of a user-assigned identity.
var identityID = regexp.MustCompile(`(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+$`)

func checkCredential(value string) error {
	switch strings.ToLower(value) {
	case managedIdentity:
		return nil
	case "managedidentityasfederatedidentity":
		return errors.New("is for tables in another tenant, which hubwatch does not know: want managedidentity")
	case "workloadidentity", "azurepipelines":
		return errors.New("leave it out: without it hubwatch finds such an identity by the environment variables of the Azure SDK")
	}
	return errors.New("is not known: want managedidentity, or leave it out")
}

// managedIdentity is the value of AlertsStorage__credential. Letter case does not
// matter.
const managedIdentity = "managedidentity"

func checkClientID(value string) error {
	switch {
	case guid.MatchString(value):
		return nil
	case identityID.MatchString(value):
		return errors.New("is a resource id: say " + settingResourceID)
	}
	return errors.New("want the client id of the identity, a GUID, and not its name")
}

func checkResourceID(value string) error {
	switch {
	case identityID.MatchString(value):
		return nil
	case guid.MatchString(value):
		return errors.New("is a client id: say " + settingClientID)
	}
	return errors.New("want the resource id of a user-assigned identity")
}

// The values of RenewalAddress.
const (
	anyAddress  = "any"
	sameNetwork = "network"
)

func checkRenewalAddress(value string) error {
	if value != anyAddress && value != sameNetwork {
		return fmt.Errorf("want %s or %s, have %q", anyAddress, sameNetwork, value)
	}
	return nil
}

// checkStormDevices takes no fewer than two devices, since one is no storm, and no more than
// the items that a verdict row has room for (verdict.PackItems).
func checkStormDevices(value string) error {
	if n, err := strconv.Atoi(value); err != nil || n < 2 || n > 1_000 {
		return fmt.Errorf("want a number from 2 to 1000, have %q", value)
	}
	return nil
}

func checkSurgeDevices(value string) error {
	if n, err := strconv.Atoi(value); err != nil || n < 0 || n > 10_000_000 {
		return fmt.Errorf("want a number from 0 to 10000000, have %q", value)
	}
	return nil
}

// checkChannels checks the URLs of channels. Its error has nothing of them.
func checkChannels(value string) error {
	_, err := notify.Read(map[string]string{settingNotifyUrls: value}, "")
	return err
}

func checkDigestAfter(value string) error {
	if n, err := strconv.Atoi(value); err != nil || n < 0 || n > 1_000 {
		return fmt.Errorf("want a number from 0 to 1000, have %q", value)
	}
	return nil
}

func checkConsoleURL(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return errors.New("want the address of the console alone")
	case u.Scheme != "https" && !reach.Loopback(u.Hostname()):
		return errors.New("want https")
	}
	return nil
}

func checkOwn(value string) error {
	_, err := detector.ParseOwn(value)
	return err
}

// hubName is the name of an IoT hub
// (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftdevices).
var hubName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{1,48}[A-Za-z0-9])$`)

// mostExpected is how many hubs may be expected: their names are one column of a row.
const mostExpected = 500

// expectedHubs returns the names in the setting.
func expectedHubs(value string) (names []string) {
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func checkExpectedHubs(value string) error {
	names := expectedHubs(value)
	if len(names) > mostExpected {
		return fmt.Errorf("want %d names at most, have %d", mostExpected, len(names))
	}
	for _, name := range names {
		if !hubName.MatchString(name) {
			return fmt.Errorf("%q is not the name of an IoT hub", name)
		}
	}
	return nil
}

// sameService reports whether two URLs are of one table service.
func sameService(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}

// checkDuration returns a check of a duration that is not outside of two bounds. A verdict
// reads all that was logged within the longest of them.
func checkDuration(least, most time.Duration) func(string) error {
	return func(value string) error {
		d, err := parseDuration(value)
		if err == nil && (d < least || d > most) {
			err = fmt.Errorf("want a duration from %s to %s, have %q", formatDuration(least), formatDuration(most), value)
		}
		return err
	}
}

// duration is the form of a duration of days, hours, minutes and seconds
// (ISO 8601, section 5.5.2).
var duration = regexp.MustCompile(`^P(?:(\d{1,3})D)?(?:T(?:(\d{1,3})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?$`)

func parseDuration(value string) (time.Duration, error) {
	parts := duration.FindStringSubmatch(value)
	if parts == nil || strings.HasSuffix(value, "P") || strings.HasSuffix(value, "T") {
		return 0, fmt.Errorf("want an ISO 8601 duration, have %q", value)
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi(cmp.Or(parts[i+1], "0"))
		d += time.Duration(n) * unit
	}
	return d, nil
}

// formatDuration returns a duration of whole seconds in the form that parseDuration reads.
func formatDuration(d time.Duration) string {
	switch {
	case d > 0 && d%time.Hour == 0:
		return fmt.Sprintf("PT%dH", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("PT%dM", d/time.Minute)
	}
	return fmt.Sprintf("PT%dS", d/time.Second)
}

func checkBool(value string) error {
	if _, err := strconv.ParseBool(value); err != nil {
		return fmt.Errorf("want true or false, have %q", value)
	}
	return nil
}

// Config is what the settings say.
type Config struct {
	Storage           table.Settings
	AlertsTable       string
	QuarantineTable   string
	SuppressionsTable string
	InferredAlerts    bool
	State             table.Settings // of the account with what verdicts are derived from
	StateTables       string         // what the names of its tables begin with
	LogClock          bool           // whether verdicts wait for the log after an outage
	Verdict           verdict.Settings
	// Topic is the address of the topic to which verdicts are published, with the identity of
	// Storage; "" if there is none.
	Topic string
	// CanaryEventHub is the address to which canaries of the event hub are sent, with the
	// identity of Storage; "" for none. CanaryPatience is how long a canary may take.
	CanaryEventHub string
	CanaryPatience time.Duration
	// CanaryTag is the address of the tags of a resource of which one is written as a canary, with
	// the identity of Storage; "" for none.
	CanaryTag string
	Notify    Notify
	// AlertEvents is the address of the topic on which people and programs are told of alerts,
	// with the identity of Storage; "" if nobody is told.
	AlertEvents string
	Own         string   // what hubwatch itself is made of, as detector.ParseOwn reads it
	Hubs        []string // names of the hubs of which hubwatch should hear
	Sentinel    Sentinel
}

// Sentinel is where alerts are sent to Microsoft Sentinel; zero if they are not.
type Sentinel struct{ Endpoint, Rule string }

// Notify is whom to tell of alerts.
type Notify struct {
	Channels    []notify.Configured
	Faults      error // what is wrong with the settings of channels, see Setting.Secret; nil if nothing is
	DigestAfter int
}

// notify completes whom to tell. The names of the channels are those of the variables of this
// process, since getenv returns values of names that are known.
func (c *Config) notify(values map[string]string, getenv func(string) string) {
	channels := map[string]string{settingNotifyUrls: getenv(settingNotifyUrls)}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, notify.SettingPrefix) {
			channels[name] = getenv(name)
		}
	}
	c.Notify.Channels, c.Notify.Faults = notify.Read(channels, values[settingConsoleURL])
	c.Notify.DigestAfter, _ = strconv.Atoi(values[settingDigestAfter]) // checkDigestAfter has said what is wrong
}

// Read reads the settings that the handler uses. Its error says everything that
// is wrong with them, except with channels, which is in the Config. Each mistake has a line that names the setting, and no line
// has a key or a signature. Read accepts settings without a storage account;
// Missing says whether there is one.
func Read(getenv func(string) string) (Config, error) {
	values, errs := values(Settings, getenv)
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, name := range []string{"credential", "clientId", "managedIdentityResourceId", "serviceUri"} {
		if name = settingState + "__" + name; strings.TrimSpace(getenv(name)) != "" {
			wrong("setting %s: is not supported: say %s; the identity is that of %s", name, settingStateURI, settingStorage)
		}
	}
	for _, r := range refused {
		if name := settingState + "__" + r.name; strings.TrimSpace(getenv(name)) != "" {
			wrong("setting %s: is not supported: say %s; the identity is that of %s", name, settingStateURI, settingStorage)
		}
		if name := settingStorage + "__" + r.name; strings.TrimSpace(getenv(name)) != "" {
			wrong("setting %s: is not supported: %s", name, r.instead)
		}
	}
	c := Config{
		Storage: table.Settings{
			ConnectionString: values[settingStorage],
			ServiceURI:       cmp.Or(values[settingTableServiceURI], values[settingServiceURI]),
			// Azure sets IDENTITY_ENDPOINT where an app has a managed identity
			// (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference).
			ManagedIdentity: strings.EqualFold(values[settingCredential], managedIdentity) || getenv("IDENTITY_ENDPOINT") != "",
			ClientID:        values[settingClientID],
			ResourceID:      values[settingResourceID],
		},
		AlertsTable:       values[settingAlertsTable],
		QuarantineTable:   values[settingQuarantineTable],
		SuppressionsTable: values[settingSuppressions],
	}
	c.InferredAlerts, _ = strconv.ParseBool(values[settingInferredAlerts]) // checkBool has said what is wrong
	for _, two := range [][2]string{{settingAlertsTable, settingQuarantineTable}, {settingAlertsTable, settingSuppressions}, {settingQuarantineTable, settingSuppressions}} {
		if strings.EqualFold(values[two[0]], values[two[1]]) {
			wrong("settings %s and %s: both are %q, want two tables", two[0], two[1], secret.RedactString(values[two[0]]))
		}
	}
	errs = append(errs, c.identity(values, getenv)...)
	errs = append(errs, c.state(values)...)
	c.StateTables, c.Topic, c.AlertEvents = values[settingStateTables], values[settingTopicEndpoint], values[settingAlertEvents]
	c.notify(values, getenv)
	c.Sentinel = Sentinel{values[settingSentinelEndpoint], values[settingSentinelRule]}
	if (c.Sentinel.Endpoint == "") != (c.Sentinel.Rule == "") {
		wrong("settings %s and %s: want both, have one", settingSentinelEndpoint, settingSentinelRule)
	}
	c.Verdict = verdict.Defaults()
	// The checks have said what is wrong.
	c.Verdict.RenewalGrace, _ = parseDuration(values[settingRenewalGrace])
	c.Verdict.MissingAfter, _ = parseDuration(values[settingMissingAfter])
	c.Verdict.SameNetwork = values[settingRenewalAddress] == sameNetwork
	c.Verdict.Storm, _ = strconv.Atoi(values[settingStormDevices])
	c.Verdict.Surge, _ = strconv.Atoi(values[settingSurgeDevices])
	c.CanaryEventHub, c.CanaryTag = values[settingCanaryEventHub], values[settingCanaryTag]
	c.CanaryPatience, _ = parseDuration(values[settingCanaryPatience])
	c.LogClock, _ = strconv.ParseBool(values[settingLogClock])
	c.Own = values[settingOwn]
	c.Hubs = expectedHubs(values[settingExpectedHubs])
	return c, errors.Join(errs...)
}

// state completes the account with the state. It returns what is wrong with its settings
// beside each other.
func (c *Config) state(values map[string]string) (errs []error) {
	text, uri := values[settingState], values[settingStateURI]
	switch {
	case text != "" && uri != "":
		errs = append(errs, fmt.Errorf("settings %s and %s: want one, have both", settingState, settingStateURI))
	case uri != "" && sameService(uri, c.Storage.ServiceURI):
		c.State = c.Storage
		errs = append(errs, fmt.Errorf("settings %s and %s: both are the same account, want two: the handler may drop the tables of the first", settingStateURI, settingTableServiceURI))
	case text != "":
		c.State = table.Settings{ConnectionString: text, Setting: settingState}
	case uri != "":
		c.State = c.Storage
		c.State.ConnectionString, c.State.ServiceURI, c.State.Setting = "", uri, settingState
	case c.Storage.ConnectionString != "":
		c.State = c.Storage
	}
	return errs
}

// values returns the values of settings that the handler reads, by their names, and what
// is wrong with them.
func values(settings []Setting, getenv func(string) string) (values map[string]string, errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	values = map[string]string{}
	for _, s := range settings {
		if s.HostOnly || s.Secret {
			continue
		}
		// People copy values with blanks and line ends, and echo writes a line
		// end into a secret.
		value := cmp.Or(strings.TrimSpace(getenv(s.Name)), s.Default)
		values[s.Name] = value
		if err := s.check(value); err != nil {
			wrong("setting %s: %s; for example %s=%s", s.Name, secret.RedactString(err.Error()), s.Name, s.Example)
		}
		for _, name := range misspelled(s.Name) {
			if getenv(name) != "" {
				wrong("setting %s: is spelled %s", name, s.Name)
			}
		}
	}
	return values, errs
}

// identity completes the identity of c. It returns which settings of an identity
// contradict each other, or a connection string.
func (c *Config) identity(values map[string]string, getenv func(string) string) (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	unused := []string{settingTableServiceURI, settingServiceURI}
	// The state, the topic, the event hub, tags and Sentinel are reached with the identity, also if the alerts are not.
	identified := c.Storage.ConnectionString == "" || values[settingStateURI] != "" || values[settingTopicEndpoint] != "" || values[settingCanaryEventHub] != "" || values[settingCanaryTag] != "" || values[settingSentinelEndpoint] != ""
	if !identified {
		unused = append(unused, settingCredential, settingClientID, settingResourceID)
	}
	for _, name := range unused {
		if c.Storage.ConnectionString != "" && values[name] != "" {
			wrong("settings %s and %s: want one, have both: an identity is not used with a connection string", settingStorage, name)
		}
	}
	user := cmp.Or(values[settingClientID], values[settingResourceID])
	switch {
	case values[settingClientID] != "" && values[settingResourceID] != "":
		wrong("settings %s and %s: want one, have both", settingClientID, settingResourceID)
	case user != "" && !c.Storage.ManagedIdentity:
		name := settingClientID
		if values[name] == "" {
			name = settingResourceID
		}
		wrong("setting %s: names a managed identity, which is used with %s=%s alone", name, settingCredential, managedIdentity)
	case user == "" && c.Storage.ManagedIdentity && identified:
		// Azure's clients take AZURE_CLIENT_ID as the client id of each
		// connection
		// (https://learn.microsoft.com/azure/azure-functions/functions-reference#azure-sdk-environment-variables).
		c.Storage.ClientID = strings.TrimSpace(getenv("AZURE_CLIENT_ID"))
		if c.Storage.ClientID != "" {
			if err := checkClientID(c.Storage.ClientID); err != nil {
				wrong("setting AZURE_CLIENT_ID: %w", err)
			}
		}
	}
	return errs
}

// check returns what is wrong with a value of s. It returns nil for a right value
// and for an empty one.
func (s Setting) check(value string) error {
	// Azure leaves the reference itself in the setting if it could not read the
	// secret
	// (https://learn.microsoft.com/azure/app-service/app-service-key-vault-references#troubleshoot-key-vault-references).
	if strings.HasPrefix(value, "@Microsoft.") {
		return errors.New("is a reference that Azure could not resolve: see the status of the setting in the portal")
	}
	if value == "" || s.Check == nil {
		return nil
	}
	return s.Check(value)
}

// misspelled returns wrong spellings of the name of a setting of the convention
// that look right. .NET ignores letter case, and documentation has clientID and a
// form with a colon. In the name of an environment variable, each character
// matters.
func misspelled(name string) (others []string) {
	connection, property, ok := strings.Cut(name, "__")
	if !ok {
		return nil
	}
	capital := strings.ToUpper(property[:1]) + property[1:]
	for _, p := range []string{strings.ToLower(property), capital, strings.TrimSuffix(property, "Id") + "ID", strings.TrimSuffix(property, "Uri") + "URI"} {
		if strings.EqualFold(p, property) && p != property {
			others = append(others, connection+"__"+p)
		}
	}
	return append(others, connection+"_"+property, connection+":"+property)
}

// detectors returns the detectors as the settings want them.
func (c Config) detectors() []detector.Detector {
	all := Detectors()
	own, _ := detector.ParseOwn(c.Own) // checkOwn has said what is wrong
	for i, d := range all {
		if !c.InferredAlerts {
			d = detector.StatedOnly(d)
		}
		all[i] = own.Of(d)
	}
	return all
}
