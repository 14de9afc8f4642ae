package table

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hubwatch/handlers/alert"
)

// reply answers a request.
type reply struct {
	status int
	header []string // names and values
	body   string
}

// by returns the reply of the service itself, with an error code.
func by(status int, code string) reply {
	return reply{status, []string{"Content-Type", "application/json", "x-ms-error-code", code}, odata(code)}
}

// odata returns an error in the form of the Table service.
func odata(code string) string {
	return fmt.Sprintf(`{"odata.error":{"code":%q,"message":{"lang":"en-US","value":"no sig=abcdef\nRequestId:1"}}}`, code)
}

func (r reply) write(w http.ResponseWriter) {
	for pair := range slices.Chunk(r.header, 2) {
		w.Header().Set(pair[0], pair[1])
	}
	w.WriteHeader(r.status)
	fmt.Fprint(w, r.body)
}

// between returns a connection string for azurite through a proxy. The proxy
// gives its own reply to the requests that pick chooses, and passes on the
// others.
func between(t testing.TB, r reply, pick func(*http.Request) bool) string {
	t.Helper()
	a := emulator(t)
	target, _, _ := strings.Cut(a.Endpoint(), "/devstoreaccount1")
	service, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(service)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if pick(request) {
			r.write(w)
			return
		}
		pass.ServeHTTP(w, request)
	}))
	t.Cleanup(proxy.Close)
	return strings.Replace(a.ConnectionString(), target, proxy.URL, 1)
}

// Choices of requests for between.
var (
	reads  = func(r *http.Request) bool { return r.Method == http.MethodGet }
	writes = func(r *http.Request) bool {
		return r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/Tables")
	}
	all = func(*http.Request) bool { return true }
)

// multipart returns the answer to a transaction that failed. The answer has a
// status of its own. Only the answer to one entity in it has the code.
func multipart(status int, code string) reply {
	body := strings.ReplaceAll(fmt.Sprintf(`--batchresponse_1
Content-Type: multipart/mixed; boundary=changesetresponse_1

--changesetresponse_1
Content-Type: application/http
Content-Transfer-Encoding: binary

HTTP/1.1 %d Bad Request
Content-Type: application/json;odata=minimalmetadata

{"odata.error":{"code":%q,"message":{"lang":"en-US","value":"1:The entity cannot be stored."}}}
--changesetresponse_1--
--batchresponse_1--
`, status, code), "\n", "\r\n")
	return reply{http.StatusAccepted, []string{"Content-Type", "multipart/mixed; boundary=batchresponse_1"}, body}
}

// TestVerdict checks that an occurrence is rejected if the service itself says so
// about a write, in each form. The same answer to a read does not reject
// anything.
func TestVerdict(t *testing.T) {
	for name, r := range map[string]reply{
		"invalid input":         by(400, "InvalidInput"),
		"too large a request":   by(413, "RequestBodyTooLarge"),
		"without the header":    {400, nil, odata("EntityTooLarge")},
		"in the header alone":   {400, []string{"x-ms-error-code", "TooManyProperties"}, "<h2>Bad Request</h2>"},
		"in a transaction":      multipart(400, "PropertyValueTooLarge"),
		"a code of the clients": by(400, "KeyValueTooLarge"),
	} {
		t.Run(name, func(t *testing.T) {
			recorded, err := open(t, between(t, r, writes)).Record(t.Context(), occurred("contoso-hub", "1", noon))
			if err != nil || recorded[0].Outcome != alert.Rejected || !errors.Is(recorded[0].Err, errRejected) {
				t.Errorf("to a write: %v, %v, error %v, want it rejected", recorded[0].Outcome, recorded[0].Err, err)
			}
			recorded, err = open(t, between(t, r, reads)).Record(t.Context(), occurred("contoso-hub", "1", noon))
			if err == nil || recorded[0].Outcome != 0 || errors.Is(err, errRejected) {
				t.Errorf("to a read: %v, error %v, want an error and no verdict", recorded[0].Outcome, err)
			}
		})
	}
}

// strangers are the replies of proxies between the app and the service, and
// replies of the service that are not about an entity.
var strangers = map[string]reply{
	"a proxy's page":                      {400, []string{"Content-Type", "text/html"}, "<h2>Bad Request</h2>"},
	"a page that says a code":             {400, []string{"Content-Type", "text/html"}, `<p>InvalidInput</p><code>EntityTooLarge</code><Error><Code>InvalidInput</Code></Error>`},
	"a gateway's error":                   {400, []string{"Content-Type", "application/json"}, `{"error":{"code":"InvalidInput","message":"odata.error"},"code":"InvalidInput"}`},
	"a proxy's limit":                     {413, nil, "<h1>413 Request Entity Too Large</h1>"},
	"no length":                           {411, nil, ""},
	"the address is too long":             {414, nil, ""},
	"a method that is not allowed":        {405, nil, ""},
	"a proxy wants a password":            {407, []string{"Proxy-Authenticate", "Basic"}, ""},
	"a login page by a redirect":          {302, []string{"Location", "http://127.0.0.1:1/login"}, ""},
	"a redirect of the method":            {307, []string{"Location", "http://127.0.0.1:1/login"}, ""},
	"a redirect without a place":          {301, nil, ""},
	"a login page":                        {200, []string{"Content-Type", "text/html"}, "<html>Log in, please: EntityTooLarge</html>"},
	"an empty page":                       {200, nil, ""},
	"accepted, with a page":               {202, []string{"Content-Type", "text/html"}, "<html>Log in, please</html>"},
	"accepted, with nothing":              {202, nil, ""},
	"TLS too old":                         by(400, "TlsVersionNotPermitted"),
	"http not allowed":                    by(400, "AccountRequiresHttps"),
	"version of the protocol":             by(400, "InvalidHeaderValue"),
	"address":                             by(400, "InvalidUri"),
	"more than one partition":             multipart(400, "CommandsInBatchActOnDifferentPartitions"),
	"firewall":                            by(403, "AuthorizationFailure"),
	"throttled, in a transaction":         multipart(503, "ServerBusy"),
	"a verdict's code of another service": {400, []string{"x-ms-error-code", "InvalidBlobOrBlock"}, ""},
}

// TestWayIsNotVerdict gives such replies to the first read, to the first write
// and to everything. Nothing is rejected, and the occurrence does not count as
// stored. Once the service answers again, the alert is raised.
func TestWayIsNotVerdict(t *testing.T) {
	for name, r := range strangers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, kind := range map[string]func(*http.Request) bool{"read": reads, "write": writes, "request": all} {
				var away atomic.Bool
				away.Store(true)
				connection := between(t, r, func(r *http.Request) bool { return away.Load() && kind(r) })
				s, q := open(t, connection), openQuarantine(t, connection)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				recorded, err := s.Record(ctx, occurred("contoso-hub", "1", noon))
				if err == nil || recorded[0].Outcome != 0 || errors.Is(err, errRejected) || !strings.HasPrefix(err.Error(), `table "`) {
					t.Errorf("to a %s: %v, error %v, want an error that is not a verdict", what, recorded[0].Outcome, err)
				}
				// The quarantine reads nothing.
				if err := q.Quarantine(ctx, alert.Quarantined{Function: "F"}); (err == nil) != (what == "read") || errors.Is(err, errRejected) {
					t.Errorf("to a %s: quarantine: %v", what, err)
				}
				away.Store(false)
				if got := put(t, s, occurred("contoso-hub", "1", noon)); got[0] != alert.New {
					t.Errorf("after such an answer to a %s: %v, want a new alert", what, got[0])
				}
			}
		})
	}
}

// TestRedirectIsNotFollowed checks that no request goes to the address in a
// redirect.
func TestRedirectIsNotFollowed(t *testing.T) {
	var reached atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		connection := between(t, reply{status, []string{"Location", other.URL}, ""}, all)
		_, err := open(t, connection).Record(t.Context(), occurred("contoso-hub", "1", noon))
		quarantine := openQuarantine(t, connection).Quarantine(t.Context(), alert.Quarantined{Function: "F"})
		for _, err := range []error{err, quarantine} {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) || !strings.Contains(err.Error(), "redirect") {
				t.Errorf("error %v, want one that says the redirect %d", err, status)
			}
		}
	}
	if reached.Load() > 0 {
		t.Errorf("%d requests reached where the redirects lead", reached.Load())
	}
}

// TestQuarantineRejected checks that Quarantine returns an error if the service
// never stores the event, so that the event is not lost.
func TestQuarantineRejected(t *testing.T) {
	err := openQuarantine(t, between(t, by(400, "EntityTooLarge"), writes)).Quarantine(t.Context(), alert.Quarantined{Function: "F"})
	if err == nil || !strings.Contains(err.Error(), "400 EntityTooLarge") {
		t.Errorf("error %v, want one that says 400 EntityTooLarge", err)
	}
}

// TestAdvice checks that an error explains the code of the service, in one line
// without a signature, and that only codes about roles and keys mention roles and
// keys.
func TestAdvice(t *testing.T) {
	const role, key, firewall = "the identity has no role that allows this", "the key is wrong", "network rules (firewall)"
	for code, test := range map[string]struct {
		status int
		want   string
		typed  bool // a *ServiceError
	}{
		"AuthorizationFailure":               {403, firewall, true},
		"AuthorizationPermissionMismatch":    {403, role, true},
		"AuthenticationFailed":               {403, key, true},
		"KeyBasedAuthenticationNotPermitted": {403, "shared key access is off", true},
		"AccountIsDisabled":                  {403, "the storage account is disabled", true},
		"InsufficientAccountPermissions":     {403, "read-only", true},
		"AuthorizationSourceIPMismatch":      {403, "other addresses", true},
		"AuthorizationProtocolMismatch":      {403, "https alone", true},
		"AuthorizationServiceMismatch":       {403, "not for tables", true},
		"AuthorizationResourceTypeMismatch":  {403, "resource types", true},
		"InvalidAuthenticationInfo":          {401, "the token is not for this storage account", true},
		"NoAuthenticationInformation":        {401, "did not arrive", true},
		"TlsVersionNotPermitted":             {400, "newer TLS", true},
		"AccountRequiresHttps":               {400, "https alone", true},
		"TableNotFound":                      {404, "there is no such table and it could not be created", true},
		"TableBeingDeleted":                  {409, "409 TableBeingDeleted", true},
		"":                                   {403, "403 Forbidden: without an error code of the Table service", false},
	} {
		connection := between(t, by(test.status, code), all)
		if code == "" {
			connection = between(t, reply{test.status, nil, "<html>sig=abcdef"}, all)
		}
		_, err := open(t, connection).Record(t.Context(), occurred("contoso-hub", "1", noon))
		for what, err := range map[string]error{
			"Record":     err,
			"Quarantine": openQuarantine(t, connection).Quarantine(t.Context(), alert.Quarantined{Function: "F"}),
			"List":       errorOf(openQuarantine(t, connection).List(t.Context(), QuarantineQuery{})),
		} {
			text := fmt.Sprint(err)
			if what == "List" && code == "TableNotFound" {
				continue // reading has its own words
			}
			var answer *ServiceError
			if !strings.Contains(text, test.want) || strings.ContainsAny(text, "\n") || strings.Contains(text, "abcdef") || errors.Is(err, errRejected) {
				t.Errorf("%s: %s: error %q, want %q in it, in one line without a signature", code, what, text, test.want)
			}
			if typed := errors.As(err, &answer); typed != test.typed || typed && (answer.Code != code || answer.Status != test.status) {
				t.Errorf("%s: %s: error %#v, want a ServiceError: %v", code, what, err, test.typed)
			}
			for _, other := range []string{role, key, firewall} {
				if other != test.want && strings.Contains(text, other) {
					t.Errorf("%s: %s: error %q says %q", code, what, text, other)
				}
			}
		}
	}
}
