package table

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"hubwatch/handlers/secret"
)

// errRejected is wrapped by the error of a write that the service will never accept,
// however often it is tried.
var errRejected = errors.New("rejected by the store")

// verdicts are the error codes by which the Table service says that it will never
// store an entity as it is: https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes,
// and for RequestBodyTooLarge and the wider sense of InvalidInput
// https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes.
// KeyValueTooLarge and DuplicateKeyPropertySpecified are in the list of Microsoft's
// own clients alone
// (https://learn.microsoft.com/dotnet/api/azure.data.tables.models.tableerrorcode).
// Codes about the network, the account or the request as a whole are not in this list.
var verdicts = map[string]bool{
	"DuplicateKeyPropertySpecified": true,
	"DuplicatePropertiesSpecified":  true,
	"EntityTooLarge":                true,
	"InvalidInput":                  true,
	"InvalidValueType":              true,
	"KeyValueTooLarge":              true,
	"OutOfRangeInput":               true,
	"PropertiesNeedValue":           true,
	"PropertyNameInvalid":           true,
	"PropertyNameTooLong":           true,
	"PropertyValueTooLarge":         true,
	"RequestBodyTooLarge":           true,
	"TooManyProperties":             true,
}

// advice says what to do about an error code that is not about an entity. The
// codes are those of
// https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
// and https://learn.microsoft.com/rest/api/storageservices/sas-error-codes. That a
// firewall answers AuthorizationFailure, and a missing role answers
// AuthorizationPermissionMismatch, is stated in
// https://learn.microsoft.com/troubleshoot/azure/azure-storage/blobs/authentication/storage-troubleshoot-403-errors.
var advice = map[string]string{
	"AccountIsDisabled":                  "the storage account is disabled: see whether its subscription is",
	"AccountRequiresHttps":               "the storage account takes https alone: say https in the connection string",
	"AuthenticationFailed":               "the key is wrong or was changed, the SAS is wrong or has expired, or the clock of this machine is wrong",
	"AuthorizationFailure":               "the network rules (firewall) of the storage account do not let this app in; if they do, the SAS does not allow this request",
	"AuthorizationPermissionMismatch":    "the identity has no role that allows this on the table: the app has its roles from infra/main.bicep, people have theirs from its parameters readers and responders; a new role takes some minutes to work; a SAS needs the permissions raud",
	"AuthorizationProtocolMismatch":      "the SAS is for https alone",
	"AuthorizationResourceTypeMismatch":  "the SAS has to be for the resource types service, container and object (srt=sco)",
	"AuthorizationServiceMismatch":       "the SAS is not for tables (ss=t)",
	"AuthorizationSourceIPMismatch":      "the SAS is for other addresses than the address of this app",
	"InsufficientAccountPermissions":     "the storage account does not allow this: it may be read-only, or its secondary endpoint",
	"InvalidAuthenticationInfo":          "the token is not for this storage account: see the tenant of the identity, and the clock of this machine",
	"KeyBasedAuthenticationNotPermitted": "the storage account takes no keys and no SAS (shared key access is off): use AlertsStorage__tableServiceUri and an identity",
	"NoAuthenticationInformation":        "the credential did not arrive: a proxy on the way removes the Authorization header",
	"TableNotFound":                      "there is no such table and it could not be created",
	"TlsVersionNotPermitted":             "the storage account wants a newer TLS version than the connection to it has",
}

// answer is the answer to a request that failed. The service sent it, or something
// between this process and the service.
type answer struct {
	status int
	code   string // of the Table service; "" if the answer is not in its form
	index  int    // of the entity that made a transaction fail
	write  bool   // the request asked to store something
}

// answerTo returns the answer that err is about. It returns false if there was no
// answer.
func answerTo(err error) (answer, bool) {
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		return answer{}, false
	}
	a := answer{status: response.StatusCode}
	raw := response.RawResponse
	if raw == nil {
		return a, true
	}
	if raw.Request != nil {
		a.write = raw.Request.Method != http.MethodGet && raw.Request.Method != http.MethodHead
	}
	a.code = raw.Header.Get("x-ms-error-code")
	body, err := runtime.Payload(raw)
	if err != nil {
		return a, true
	}
	if m := bodyCode.FindSubmatch(body); a.code == "" && m != nil {
		a.code = string(m[1])
	}
	if m := itemIndex.FindSubmatch(body); m != nil {
		a.index, _ = strconv.Atoi(string(m[1]))
	}
	return a, true
}

// bodyCode finds the error code in an answer in the form of the Table service. A
// page of a proxy, or an error in the form of another service, has none. The answer
// to a transaction has no header that says the code: it is a multipart document
// around the answer to the entity that failed. Its own status is 202
// (https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2).
var bodyCode = regexp.MustCompile(`"odata\.error"\s*:\s*\{\s*"code"\s*:\s*"(\w+)"`)

// itemIndex finds the place of the failed entity in such a document, as in
// "value":"2:The specified entity already exists."
// (https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions#sample-error-response).
var itemIndex = regexp.MustCompile(`"value"\s*:\s*"(\d+):`)

// rejects reports whether the service itself says that it will never store an
// entity. A status alone never says so, because anything on the way can answer with
// that status. The answer to a request that reads never says so either.
func (a answer) rejects() bool { return a.write && verdicts[a.code] }

// ServiceError is wrapped by the errors of requests that the service answered with
// an error. Any other error means that the service could not be asked, that
// something else has answered, or that a row is not as it should be.
type ServiceError struct {
	Status int    // of HTTP; 202 for one entity of a transaction
	Code   string // of Table Storage, https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
}

// Error implements error.
func (e *ServiceError) Error() string {
	return fmt.Sprintf("%d %s", e.Status, secret.RedactString(e.Code))
}

// foreign returns the error of an answer that has no error code of the service.
func (a answer) foreign() error {
	text := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	switch {
	case a.status >= http.StatusInternalServerError || a.status == http.StatusTooManyRequests:
		return errors.New(text)
	case a.status >= 300 && a.status < 400:
		return errors.New(text + ": a redirect, which is not followed: the settings name another service, or something on the way (a proxy, a login page) has answered")
	default:
		return errors.New(text + ": without an error code of the Table service: the settings name another service, or something on the way (a proxy, a gateway) has answered")
	}
}

// conflict reports whether err says that a transaction met rows that are not as
// it expected, and which of its entities did.
func (t table) conflict(err error) (index int, ok bool) {
	a, ok := answerTo(err)
	if !ok {
		return 0, false
	}
	switch aztables.TableErrorCode(a.code) {
	case aztables.EntityAlreadyExists, aztables.UpdateConditionNotSatisfied, aztables.ResourceNotFound:
		return a.index, true
	default:
		return 0, false
	}
}

// hasCode reports whether err is an answer of the service with this code.
func hasCode(err error, want aztables.TableErrorCode) bool {
	a, ok := answerTo(err)
	return ok && a.code == string(want)
}

// explain says what failed on which table and what to do about it, in one line
// and without the URL, which can hold a signature. The error wraps errRejected if
// the service will never store what was sent to it.
func (t table) explain(verb string, err error) error {
	a, ok := answerTo(err)
	switch {
	case !ok:
		err = &redacted{err}
	case a.code == "":
		err = a.foreign()
	case a.rejects():
		err = fmt.Errorf("%w: %w", errRejected, &ServiceError{a.status, a.code})
	case advice[a.code] != "":
		err = fmt.Errorf("%w: %s", &ServiceError{a.status, a.code}, advice[a.code])
	default:
		err = &ServiceError{a.status, a.code}
	}
	return fmt.Errorf("table %q: %s: %w", t.name, verb, err)
}

// redacted is an error without the secrets in its text.
type redacted struct{ err error }

func (r *redacted) Error() string { return secret.RedactString(r.err.Error()) }
func (r *redacted) Unwrap() error { return r.err }
