// Package table keeps alerts, their evidence and the quarantine in Azure Table
// Storage. It is the only package that knows aztables and azidentity.
//
// An alert is one row, and each distinct event that it was seen in is a row of
// evidence beside it. Both are written in one entity group transaction: the
// evidence as an insertion, which fails if that event is recorded already, and
// the alert's counters on condition that nobody changed the row meanwhile. So a
// redelivery changes nothing, two instances never lose or double an occurrence,
// and what a person wrote into the row stays. docs/design.md has the
// alternatives and what they cost.
package table

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"hubwatch/handlers/secret"
)

// Settings say where the tables are. The names of the application settings
// follow the convention for identity-based connections of Azure Functions
// (https://learn.microsoft.com/azure/azure-functions/functions-reference#common-properties-for-identity-based-connections).
type Settings struct {
	// ConnectionString is AlertsStorage: a connection string, or
	// UseDevelopmentStorage=true for Azurite at its usual port.
	ConnectionString string
	// ServiceURI is AlertsStorage__tableServiceUri, used instead of a connection
	// string and with a Microsoft Entra identity: https://<account>.table.core.windows.net
	ServiceURI string
	// ManagedIdentity uses the identity of the function app alone. Without it the
	// identity is whatever azidentity.DefaultAzureCredential finds, on a
	// developer's machine that of the Azure CLI.
	ManagedIdentity bool
	ClientID        string // AlertsStorage__clientId: of a user-assigned identity
}

// developmentStorage is what UseDevelopmentStorage=true stands for. Account and
// key are Azurite's, the same everywhere
// (https://learn.microsoft.com/azure/storage/common/storage-connect-azurite).
const developmentStorage = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;" +
	"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;" +
	"TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"

// tableName is what Table Storage accepts
// (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model#table-names).
var tableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{2,62}$`)

// CheckName returns an error unless name can be the name of a table.
func CheckName(name string) error {
	if !tableName.MatchString(name) {
		return fmt.Errorf("%q is not a name for a table: want 3 to 63 letters and digits, a letter first", name)
	}
	return nil
}

// Account is a storage account, or what else speaks the protocol of its tables.
type Account struct{ service *aztables.ServiceClient }

// Open returns the account that the settings name. It does not connect: an account
// that cannot be reached shows at the first request. Its error says which setting
// is missing or wrong.
func Open(settings Settings) (*Account, error) {
	service, err := settings.service()
	if err != nil {
		return nil, err
	}
	return &Account{service}, nil
}

func (a *Account) table(name string) table { return table{a.service.NewClient(name), name} }

func (s Settings) service() (*aztables.ServiceClient, error) {
	options := &aztables.ClientOptions{ClientOptions: clientOptions()}
	switch {
	case s.ConnectionString != "" && s.ServiceURI != "":
		return nil, errors.New("settings AlertsStorage and AlertsStorage__tableServiceUri: want one, have both")
	case s.ConnectionString != "":
		connection := s.ConnectionString
		if strings.EqualFold(strings.Trim(connection, "; "), "UseDevelopmentStorage=true") {
			connection = developmentStorage
		}
		service, err := aztables.NewServiceClientFromConnectionString(connection, options)
		if err != nil {
			return nil, fmt.Errorf("setting AlertsStorage: %s", secret.RedactString(err.Error()))
		}
		return service, nil
	case s.ServiceURI != "":
		credential, err := s.credential()
		if err != nil {
			return nil, fmt.Errorf("setting AlertsStorage__tableServiceUri: %w", err)
		}
		service, err := aztables.NewServiceClient(s.ServiceURI, credential, options)
		if err != nil {
			return nil, fmt.Errorf("setting AlertsStorage__tableServiceUri: %w", err)
		}
		return service, nil
	default:
		return nil, errors.New("settings AlertsStorage and AlertsStorage__tableServiceUri: want one, have none")
	}
}

func (s Settings) credential() (azcore.TokenCredential, error) {
	if !s.ManagedIdentity {
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: clientOptions()})
	}
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: clientOptions()}
	if s.ClientID != "" {
		options.ID = azidentity.ClientID(s.ClientID)
	}
	return azidentity.NewManagedIdentityCredential(options)
}

// transport keeps as many connections as invocations run at once. The SDK's own
// keeps ten for each host (azcore v1.24.0, default_http_client.go) and dials
// anew in every burst.
var transport = func() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 128, 128
	return &http.Client{Transport: t}
}()

// clientOptions bound every call: four tries of three seconds, which the
// context of the caller cuts short. The SDK's own options have no limit for a
// try, and wait for ten seconds and more in all.
func clientOptions() policy.ClientOptions {
	return policy.ClientOptions{
		Transport: transport,
		Retry: policy.RetryOptions{
			MaxRetries:    3,
			TryTimeout:    3 * time.Second,
			RetryDelay:    100 * time.Millisecond,
			MaxRetryDelay: 2 * time.Second,
		},
		PerCallPolicies: []policy.Policy{noEcho{}},
	}
}

// noEcho asks the service not to send the entity back that was just inserted.
type noEcho struct{}

func (noEcho) Do(r *policy.Request) (*http.Response, error) {
	if r.Raw().Method == http.MethodPost {
		r.Raw().Header.Set("Prefer", "return-no-content")
	}
	return r.Next()
}

// table is a table and its name.
type table struct {
	client *aztables.Client
	name   string
}

// missing reports whether err says that the table does not exist, and has
// created it if so. A deployment creates the tables; this is for a start from
// nothing, locally. If the table cannot be created err is the caller's to report.
func (t table) missing(ctx context.Context, err error) bool {
	if !hasCode(err, aztables.TableNotFound) {
		return false
	}
	_, err = t.client.CreateTable(ctx, nil)
	return err == nil || hasCode(err, aztables.TableAlreadyExists)
}

// ErrAbsent is wrapped by the errors of reading a table that does not exist.
var ErrAbsent = errors.New("there is none")

// absent returns the error of reading a table that does not exist, and what it
// would mean that there is none.
func (t table) absent(means string) error {
	return fmt.Errorf("table %q: %w: %s, or the settings name another storage account or table than those of the app", t.name, ErrAbsent, means)
}

// itemIndex finds the place of the failed entity in the error of a transaction,
// as in "value":"2:The specified entity already exists."
// (https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions#sample-error-response).
var itemIndex = regexp.MustCompile(`"value"\s*:\s*"(\d+):`)

// itemCode finds the error code there.
var itemCode = regexp.MustCompile(`"code"\s*:\s*"(\w+)"`)

// transactionError returns the code and the place of the entity that made a
// transaction fail. The SDK reports such a failure as status 202 without a code
// (aztables v1.4.1, transactional_batch.go).
func transactionError(err error) (code string, index int, ok bool) {
	var response *azcore.ResponseError
	if !errors.As(err, &response) || response.RawResponse == nil {
		return "", 0, false
	}
	body, readErr := runtime.Payload(response.RawResponse)
	if readErr != nil {
		return "", 0, false
	}
	if m := itemIndex.FindSubmatch(body); m != nil {
		index, _ = strconv.Atoi(string(m[1]))
	}
	if m := itemCode.FindSubmatch(body); m != nil {
		return string(m[1]), index, true
	}
	return "", 0, false
}

// conflict reports whether err says that a transaction met rows that are not as
// it expected, and which of its entities did.
func (t table) conflict(err error) (index int, ok bool) {
	code, index, ok := transactionError(err)
	if !ok {
		return 0, false
	}
	switch aztables.TableErrorCode(code) {
	case aztables.EntityAlreadyExists, aztables.UpdateConditionNotSatisfied, aztables.ResourceNotFound:
		return index, true
	default:
		return 0, false
	}
}

// hasCode reports whether err is an answer of the service with this code.
func hasCode(err error, want aztables.TableErrorCode) bool {
	if err == nil {
		return false
	}
	var response *azcore.ResponseError
	if errors.As(err, &response) && response.ErrorCode == string(want) {
		return true
	}
	code, _, ok := transactionError(err)
	return ok && code == string(want)
}

// explain says what failed on which table and what to do about it, in one line
// and without the URL, which can hold a signature.
func (t table) explain(verb string, err error) error {
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		return fmt.Errorf("table %q: %s: %w", t.name, verb, &redacted{err})
	}
	status, code := response.StatusCode, response.ErrorCode
	if c, _, ok := transactionError(err); ok && code == "" {
		code = c
	}
	if code == "" {
		code = http.StatusText(status)
	}
	switch {
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return fmt.Errorf("table %q: %s: %d %s: the identity needs the role Storage Table Data Contributor on the table, or the key is wrong", t.name, verb, status, code)
	case code == string(aztables.TableNotFound):
		return fmt.Errorf("table %q: %s: %d %s: there is no such table and it could not be created", t.name, verb, status, code)
	case rejects(status, code):
		return fmt.Errorf("table %q: %s: %w: %d %s", t.name, verb, errRejected, status, code)
	default:
		return fmt.Errorf("table %q: %s: %d %s", t.name, verb, status, code)
	}
}

// rejects reports whether an answer means that the service will never take
// these entities. The code of an entity inside a transaction comes with the
// transaction's own status, 202.
func rejects(status int, code string) bool {
	switch code {
	case "InvalidInput", "PropertyValueTooLarge", "EntityTooLarge", "RequestBodyTooLarge", "PropertyNameInvalid",
		"PropertyNameTooLong", "TooManyProperties", "KeyValueTooLarge", "OutOfRangeInput":
		return true
	}
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge
}

// errRejected is wrapped by the errors of writes that the service will never take,
// however often they are tried.
var errRejected = errors.New("rejected by the store")

// redacted is an error without the secrets in its text.
type redacted struct{ err error }

func (r *redacted) Error() string { return secret.RedactString(r.err.Error()) }
func (r *redacted) Unwrap() error { return r.err }
