package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/reach"
)

const (
	testRule = "dcr-00000000000000000000000000000001"
	// testToken is what no error may have.
	testToken = "eyJhbGciOiJub25lIn0.c2VjcmV0LXRva2Vu.sentinel"
)

// tokens is a credential that remembers for whom it was asked.
type tokens struct{ scopes []string }

func (c *tokens) GetToken(_ context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.scopes = append(c.scopes, options.Scopes...)
	return azcore.AccessToken{Token: testToken, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// noTokens is a credential that fails, as one of azidentity does.
type noTokens struct{}

func (noTokens) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, errors.New("ManagedIdentityCredential: POST answered 400, client_secret=Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0")
}

// ingestionSite is a stand-in for the ingestion endpoint, over TLS on this machine.
type ingestionSite struct {
	*httptest.Server
	answer   func(attempt int, w http.ResponseWriter, r *http.Request)
	requests []*http.Request
	rows     []map[string]any
}

func newIngestionSite(t *testing.T, answer func(attempt int, w http.ResponseWriter, r *http.Request)) *ingestionSite {
	t.Helper()
	s := &ingestionSite{answer: answer}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var rows []map[string]any
		if err := json.Unmarshal(body, &rows); err != nil {
			t.Errorf("the body is not a JSON array: %v", err)
		}
		s.requests, s.rows = append(s.requests, r), append(s.rows, rows...)
		s.answer(len(s.requests), w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// open returns the channel to s. It waits little between attempts.
func (s *ingestionSite) open(t *testing.T, credential azcore.TokenCredential) *Sentinel {
	t.Helper()
	transport := reach.Transport{RoundTripper: s.Client().Transport}
	c, err := openSentinel(s.URL, testRule, credential, transport, policy.RetryOptions{
		MaxRetries: 1, TryTimeout: 10 * time.Second, RetryDelay: time.Millisecond, MaxRetryDelay: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raising is a message about an alert that was closed and is active again.
func raising() Message {
	a := alert.Alert{
		ID: "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39", Type: "IoT_CertificateSuccessfullyAddedToHub", Detector: "CertificateAdded",
		DisplayName: "New certificate added to an IoT Hub", Severity: alert.Medium, Remediation: "1. Ask.\n2. Delete it.",
		Start: time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC), End: time.Date(2026, 2, 1, 9, 0, 0, 0, time.UTC), Generated: time.Date(2026, 2, 1, 8, 0, 1, 0, time.UTC),
		Status: alert.Active, Occurrences: 2, Changes: 2,
	}
	a.Hub = alert.Hub{Name: "contoso-hub", ResourceID: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"}
	a.Message, a.Actor = "a certificate", "alice@contoso.example"
	a.Entity = alert.Entity{Type: alert.Certificate, Name: "root-ca"}
	return Message{ID: a.ID + "/2", Kind: Reopened, Time: time.Date(2026, 2, 1, 9, 0, 1, 0, time.UTC), Alert: export.NewAlert(a)}
}

func TestSentinelRow(t *testing.T) {
	s := newIngestionSite(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	credential := &tokens{}
	if err := s.open(t, credential).Send(t.Context(), raising()); err != nil {
		t.Fatal(err)
	}
	r := s.requests[0]
	if want := "/dataCollectionRules/" + testRule + "/streams/" + SentinelStream; r.URL.Path != want || r.Method != http.MethodPost {
		t.Errorf("%s %s, want POST %s", r.Method, r.URL.Path, want)
	}
	if got := r.Header.Get("Authorization"); got != "Bearer "+testToken {
		t.Errorf("authorization %q", got)
	}
	if !slices.Equal(credential.scopes, []string{"https://monitor.azure.com//.default"}) {
		t.Errorf("the token is for %q", credential.scopes)
	}
	want := map[string]any{
		"RaisingId": "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39/2", "Raising": "reopened", "Changes": 2.0,
		// When it was raised again, and when it began.
		"TimeGenerated": "2026-02-01T09:00:01Z", "ProcessingEndTime": "2026-02-01T08:00:01Z", "StartTime": "2026-02-01T08:00:00Z",
		"SystemAlertId": "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39", "AlertSeverity": "Medium", "Status": "New", "RemediationSteps": `["Ask.","Delete it."]`,
	}
	got := map[string]any{}
	for name := range want {
		got[name] = s.rows[0][name]
	}
	if diff := cmp.Diff(want, got); diff != "" || len(s.rows) != 1 {
		t.Errorf("%d rows; the first (-want +have):\n%s", len(s.rows), diff)
	}
}

// TestSentinelTimes checks that no time of a row is more precise than Log Analytics takes it.
func TestSentinelTimes(t *testing.T) {
	m := raising()
	m.Time = time.Date(2026, 2, 1, 9, 0, 1, 123456789, time.UTC)
	row, err := NewSentinelRow(m)
	if err != nil || row.TimeGenerated.Format(time.RFC3339Nano) != "2026-02-01T09:00:01.1234567Z" {
		t.Errorf("have %s, %v", row.TimeGenerated.Format(time.RFC3339Nano), err)
	}
}

// TestSentinelAnswers checks which answers may be tried again, and that no error repeats
// what the service said.
func TestSentinelAnswers(t *testing.T) {
	const tenant = "00000000-0000-0000-0000-0000000000aa"
	refuse := func(status int, code string) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			// A service may say the token again.
			_, _ = io.WriteString(w, `{"error":{"code":"`+code+`","message":"tenant `+tenant+` `+r.Header.Get("Authorization")+`"}}`)
		}
	}
	for _, test := range []struct {
		name     string
		answer   func(attempt int, w http.ResponseWriter, r *http.Request)
		attempts int
		want     string // of the error; "" for none
		never    bool
	}{
		{"taken", func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, 1, "", false},
		{"taken, in other words", refuse(http.StatusOK, "Success"), 1, "the ingestion answers 200 Success", false},
		{"rows that do not fit the stream", refuse(http.StatusBadRequest, "InvalidPayload"), 1, "can never be sent: the ingestion answers 400 InvalidPayload", true},
		{"no role", refuse(http.StatusForbidden, "OperationFailed"), 1, "answers 403 OperationFailed: the identity of the app needs the role Monitoring Metrics Publisher", false},
		{"another audience", refuse(http.StatusUnauthorized, "InvalidAudience"), 1, "answers 401 InvalidAudience: the token is not for this endpoint", false},
		{"no such rule", refuse(http.StatusNotFound, "NotFound"), 1, "answers 404 NotFound: the endpoint has no such rule", false},
		{"too long", refuse(http.StatusRequestEntityTooLarge, "ContentLengthLimitExceeded"), 1, "can never be sent: the ingestion answers 413", true},
		{"a code that is none", refuse(http.StatusBadRequest, `Bearer `+testToken), 1, "can never be sent: the ingestion answers 400", true},
		{"too many rows for long", func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "30")
			refuse(http.StatusTooManyRequests, "TooManyRequests")(1, w, r)
		}, 1, "answers 429 TooManyRequests: the rule takes no more rows in this minute", false},
		{"too many rows at first", func(attempt int, w http.ResponseWriter, r *http.Request) {
			if attempt == 1 {
				w.Header().Set("Retry-After-Ms", "1")
				refuse(http.StatusTooManyRequests, "TooManyRequests")(1, w, r)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}, 2, "", false},
		{"broken", refuse(http.StatusInternalServerError, "InternalError"), 2, "answers 500 InternalError", false},
		{"broken at first", func(attempt int, w http.ResponseWriter, r *http.Request) {
			if attempt == 1 {
				refuse(http.StatusServiceUnavailable, "ServerBusy")(1, w, r)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}, 2, "", false},
		{"elsewhere", func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://192.0.2.1/")
			refuse(http.StatusTemporaryRedirect, "Moved")(1, w, r)
		}, 1, "answers 307", false},
		{"reset", func(_ int, _ http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, 2, "sentinel: ", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newIngestionSite(t, test.answer)
			err := s.open(t, &tokens{}).Send(t.Context(), raising())
			if len(s.requests) != test.attempts {
				t.Errorf("%d attempts, want %d", len(s.requests), test.attempts)
			}
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrNever) != test.never {
				t.Fatalf("error %v, never %t; want %q, never %t", err, errors.Is(err, ErrNever), test.want, test.never)
			}
			if strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), tenant) {
				t.Errorf("the error repeats the answer: %v", err)
			}
		})
	}
}

// TestSentinelHangs checks that a service that does not answer takes no longer than the
// caller allows.
func TestSentinelHangs(t *testing.T) {
	arrived := make(chan bool, 1)
	done := make(chan bool)
	s := newIngestionSite(t, func(_ int, _ http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-done
	})
	defer close(done)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if err := s.open(t, &tokens{}).Send(ctx, raising()); err == nil || errors.Is(err, ErrNever) {
		t.Errorf("error %v, want one that may be tried again", err)
	}
}

// TestSentinelCannotSend checks what never reaches the service.
func TestSentinelCannotSend(t *testing.T) {
	s := newIngestionSite(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	digest := raising()
	digest.Kind, digest.Count = Digest, 40
	if err := s.open(t, &tokens{}).Send(t.Context(), digest); !errors.Is(err, ErrNever) {
		t.Errorf("a digest: %v, want one that can never be sent", err)
	}
	err := s.open(t, noTokens{}).Send(t.Context(), raising())
	if err == nil || errors.Is(err, ErrNever) || strings.Contains(err.Error(), "Zm9vYmFy") {
		t.Errorf("without a token: %v, want an error that may be tried again and has no secret", err)
	}
	if len(s.requests) > 0 {
		t.Errorf("%d requests arrived", len(s.requests))
	}
}

func TestSentinelSettings(t *testing.T) {
	for endpoint, audience := range map[string]string{
		"https://contoso-alerts-abcd.westeurope-1.ingest.monitor.azure.com": "https://monitor.azure.com//.default",
		"https://contoso.usgovvirginia-1.ingest.monitor.azure.us/":          "https://monitor.azure.us//.default",
		"https://Contoso.chinanorth3-1.ingest.monitor.azure.cn":             "https://monitor.azure.cn//.default",
	} {
		if err := CheckSentinelEndpoint(endpoint); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
		credential := &tokens{}
		transport := transporter(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
		})
		c, err := openSentinel(endpoint, testRule, credential, transport, policy.RetryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(t.Context(), raising()); err != nil || !slices.Equal(credential.scopes, []string{audience}) {
			t.Errorf("%s: the token is for %q, want %q; error %v", endpoint, credential.scopes, audience, err)
		}
	}
	for _, endpoint := range []string{
		"", "http://contoso.ingest.monitor.azure.com", "https://contoso.example", "https://monitor.azure.com.contoso.example",
		"https://contoso.ingest.monitor.azure.com:8443", "https://contoso.ingest.monitor.azure.com/dataCollectionRules",
		"https://alice:hunter2@contoso.ingest.monitor.azure.com", "https://contoso.ingest.monitor.azure.com?sig=hunter2", "https://%zz.monitor.azure.com?sig=hunter2",
	} {
		if err := CheckSentinelEndpoint(endpoint); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q is taken, or its secret said: %v", endpoint, err)
		}
	}
	if err := CheckSentinelRule(testRule); err != nil {
		t.Error(err)
	}
	for _, rule := range []string{"", "dcr-1", "/subscriptions/0", testRule + "/streams/x"} {
		if CheckSentinelRule(rule) == nil {
			t.Errorf("rule %q is taken", rule)
		}
	}
}

// transporter is a function that answers requests.
type transporter func(*http.Request) (*http.Response, error)

func (f transporter) Do(r *http.Request) (*http.Response, error) { return f(r) }

// TestSentinelRowLength checks that the rows of the alerts of the cases are, on average, no
// longer than docs/cost.md says. A workspace bills the values of a row, and the row as it is
// sent has their names as well
// (https://learn.microsoft.com/azure/azure-monitor/logs/cost-logs#data-size-calculation).
func TestSentinelRowLength(t *testing.T) {
	page, err := os.ReadFile("../../docs/cost.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`a row in Microsoft Sentinel \| ([\d,]+) bytes`).FindSubmatch(page)
	if m == nil {
		t.Fatal("docs/cost.md does not say how long a row is")
	}
	most, _ := strconv.Atoi(strings.ReplaceAll(string(m[1]), ",", ""))
	sum, n := 0, 0
	for _, d := range detector.All {
		list, err := cases.Read(os.DirFS("../detector/testdata"), d.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			for _, o := range d.Judge(c.Event).Occurrences {
				a := alert.Alert{
					ID: o.ID, Detector: o.Detector, Type: o.Type, DisplayName: o.DisplayName, Severity: o.Severity, Remediation: strings.Join(o.Remediation, "\n"),
					Finding: o.Finding, Start: o.Event.Time, End: o.Event.Time, Generated: o.Event.Time, Status: alert.Active, Occurrences: 1,
					LastActorIPAddress: o.ActorIPAddress,
				}
				row, err := NewSentinelRow(Message{ID: a.ID + "/0", Kind: Raised, Time: o.Event.Time, Alert: export.NewAlert(a)})
				if err != nil {
					t.Fatal(err)
				}
				text, err := json.Marshal(row)
				if err != nil {
					t.Fatal(err)
				}
				n, sum = n+1, sum+len(text)
			}
		}
	}
	t.Logf("%d rows of %d bytes on average", n, sum/max(n, 1))
	if n < 20 || sum/n > most {
		t.Errorf("%d rows of %d bytes on average, want %d at most", n, sum/max(n, 1), most)
	}
}

// TestSentinelIsToldBesides has two functions tell the same raisings, which remember who was
// told in the same store: each tells its own channel, once, whatever is delivered again. A row
// that can never be taken is quarantined, and nobody else is told of that.
func TestSentinelIsToldBesides(t *testing.T) {
	s := newStage()
	never := false
	site := newIngestionSite(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		if never {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	people := &listener{name: "people"}
	notify, sentinel := s.teller(people), s.teller(site.open(t, &tokens{}))
	notify.DigestAfter, sentinel.DigestAfter, sentinel.Prefix = 1, 0, "Sentinel/"
	for range 3 {
		for n := range 5 {
			for _, teller := range []*Teller{notify, sentinel} {
				if _, err := run(t, teller, raised(n)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// The others are left to a digest.
	if len(people.got) != 1 || len(site.rows) != 5 {
		t.Errorf("people were told %d times, Sentinel %d times, want 1 and 5", len(people.got), len(site.rows))
	}
	// docs/cost.md says two table requests: it is taken, and marked as told.
	before := s.told.calls
	if _, err := run(t, sentinel, raised(8)); err != nil || s.told.calls != before+2 {
		t.Errorf("%v; a row takes %d requests, want 2", err, s.told.calls-before)
	}
	never = true
	for range 2 {
		if _, err := run(t, sentinel, raised(9)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.kept.list) != 1 || len(site.rows) != 7 || len(people.got) != 1 {
		t.Errorf("%d are quarantined, %d rows were sent, people were told %d times, want 1, 7 and 1", len(s.kept.list), len(site.rows), len(people.got))
	}
}
