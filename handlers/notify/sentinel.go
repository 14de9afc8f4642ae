package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/monitor/ingestion/azlogs"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/export"
	"hubwatch/handlers/reach"
	"hubwatch/handlers/secret"
)

// Names of the settings.
const (
	SettingSentinelEndpoint = "Sentinel__endpoint"
	SettingSentinelRule     = "Sentinel__ruleId"
)

// SentinelStream is the stream of the data collection rule that takes the rows. The rule
// and the table of the rows are in infra/sentinel.bicep.
const SentinelStream = "Custom-HubwatchAlerts_CL"

// SentinelRow is a row of the table HubwatchAlerts_CL: an alert with the columns of
// Microsoft's table SecurityAlert, and which raising it is. The table is append-only, and
// a raising that is sent twice is two rows with one RaisingId, so a query takes one of
// them (docs/sentinel/alerts.kql).
type SentinelRow struct {
	export.SecurityAlert `json:",inline"`
	RaisingID            string `json:"RaisingId"` // the id of the raising's CloudEvent: SystemAlertId, a slash, Changes
	Raising              Kind   `json:"Raising"`   // raised, reopened or test
	Changes              int    `json:"Changes"`   // of the alert: 0 when it is new
}

// NewSentinelRow returns the row of m, which is not a digest. TimeGenerated is the time of
// the raising: of an alert that is raised again, the time of its first raising may be so
// long ago that the rule of an incident does not look there.
func NewSentinelRow(m Message) (SentinelRow, error) {
	s, err := export.NewSecurityAlert(m.Alert)
	if err != nil {
		return SentinelRow{}, err
	}
	s.TimeGenerated = m.Time.UTC().Truncate(tick)
	return SentinelRow{SecurityAlert: s, RaisingID: m.ID, Raising: m.Kind, Changes: m.Alert.Changes}, nil
}

// tick is the precision of times in Log Analytics
// (https://learn.microsoft.com/kusto/query/scalar-data-types/datetime). Those of an alert have it;
// that of a test is more precise.
const tick = 100 * time.Nanosecond

// Sentinel is the channel to Microsoft Sentinel: it sends a row of each raising to a Log
// Analytics table through the Logs Ingestion API
// (https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview).
// Its methods may be called at the same time.
type Sentinel struct {
	client *azlogs.Client
	rule   string
}

// ingestionHost are the hosts that take rows, by the cloud that has them. A token is sent
// to no other host.
var ingestionHost = regexp.MustCompile(`(?i)^[a-z0-9-]+(\.[a-z0-9-]+)*\.monitor\.azure\.(com|us|cn)$`)

// CheckSentinelEndpoint returns an error unless s is an address to which rows, and a
// token, may be sent.
func CheckSentinelEndpoint(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("is not a URL") // the error of url.Parse repeats it
	case u.Scheme != "https":
		return errors.New("want https")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return errors.New("want the address alone, without user, path, query and fragment")
	case !ingestionHost.MatchString(u.Host):
		return errors.New("want a host of Azure Monitor, of which the name ends in .ingest.monitor.azure.com, .us or .cn")
	}
	return nil
}

var ruleID = regexp.MustCompile(`^dcr-[0-9a-f]{32}$`)

// CheckSentinelRule returns an error unless s is the immutable id of a data collection
// rule.
func CheckSentinelRule(s string) error {
	if !ruleID.MatchString(s) {
		return errors.New("want the immutable id of the data collection rule: dcr- and 32 hexadecimal digits")
	}
	return nil
}

// OpenSentinel returns the channel that sends to a data collection rule. endpoint is one
// that CheckSentinelEndpoint accepts, and rule one that CheckSentinelRule accepts.
// OpenSentinel does not connect.
func OpenSentinel(endpoint, rule string, credential azcore.TokenCredential) (*Sentinel, error) {
	return openSentinel(endpoint, rule, credential, reach.Default, policy.RetryOptions{
		MaxRetries: 2, TryTimeout: 5 * time.Second, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second,
	})
}

// openSentinel is OpenSentinel with the ways that a test changes.
func openSentinel(endpoint, rule string, credential azcore.TokenCredential, transport policy.Transporter, retry policy.RetryOptions) (*Sentinel, error) {
	options := &azlogs.ClientOptions{ClientOptions: azcore.ClientOptions{Cloud: cloudOf(endpoint), Transport: transport, Retry: retry}}
	client, err := azlogs.NewClient(endpoint, credential, options)
	if err != nil {
		return nil, fmt.Errorf("sentinel: %w", err)
	}
	return &Sentinel{client, rule}, nil
}

// cloudOf returns the cloud whose Azure Monitor an endpoint is of. The audience of the
// token depends on it.
func cloudOf(endpoint string) cloud.Configuration {
	host := strings.ToLower(strings.TrimRight(endpoint, "/"))
	switch {
	case strings.HasSuffix(host, ".us"):
		return cloud.AzureGovernment
	case strings.HasSuffix(host, ".cn"):
		return cloud.AzureChina
	}
	return cloud.AzurePublic
}

// Name implements Channel.
func (s *Sentinel) Name() string { return "sentinel" }

// Send implements Channel. A SIEM wants alerts, each of them, so a message that is about
// several or about none can never be sent.
func (s *Sentinel) Send(ctx context.Context, m Message) error {
	if m.Kind == Digest || m.Kind == Failed {
		return fmt.Errorf("sentinel: %w: it is not one alert", ErrNever)
	}
	row, err := NewSentinelRow(m)
	if err != nil {
		return fmt.Errorf("sentinel: %w: %w", ErrNever, err)
	}
	body, err := json.Marshal([]SentinelRow{row}, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("sentinel: %w: %w", ErrNever, err)
	}
	if _, err = s.client.Upload(ctx, s.rule, SentinelStream, body, nil); err != nil {
		return ingestionError(err)
	}
	return nil
}

// refusals are the answers by which the service says that it will never take these rows:
// they do not fit the stream, or they are more than 1 MB
// (https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview).
var refusals = map[int]bool{http.StatusBadRequest: true, http.StatusRequestEntityTooLarge: true}

// ingestionAdvice says what to do about an answer. A new role takes up to half an hour to
// work, and so does a new rule, so both answers may be tried again
// (https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview#troubleshooting).
var ingestionAdvice = map[int]string{
	http.StatusUnauthorized:    "the token is not for this endpoint: see the setting " + SettingSentinelEndpoint,
	http.StatusForbidden:       "the identity of the app needs the role Monitoring Metrics Publisher on the data collection rule; a new role takes up to 30 minutes to work",
	http.StatusNotFound:        "the endpoint has no such rule or stream: see the settings " + SettingSentinelEndpoint + " and " + SettingSentinelRule,
	http.StatusTooManyRequests: "the rule takes no more rows in this minute",
}

// ingestionError returns the error of an upload without the answer itself, which repeats
// ids of the tenant.
func ingestionError(err error) error {
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) {
		return fmt.Errorf("sentinel: %s", secret.RedactString(err.Error()))
	}
	text := fmt.Sprintf("the ingestion answers %d", answer.StatusCode)
	if code := strings.TrimSpace(answer.ErrorCode); len(code) <= longestCode && errorCode.MatchString(code) {
		text += " " + code
	}
	if advice := ingestionAdvice[answer.StatusCode]; advice != "" {
		text += ": " + advice
	}
	if refusals[answer.StatusCode] {
		return fmt.Errorf("sentinel: %w: %s", ErrNever, text)
	}
	return errors.New("sentinel: " + text)
}

// errorCode is what an error code of Azure looks like, of at most longestCode characters.
// Anything else is not repeated.
var errorCode = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

const longestCode = 64
