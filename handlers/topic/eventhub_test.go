package topic

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

func TestCheckEventHub(t *testing.T) {
	for value, want := range map[string]string{
		"https://contoso.servicebus.windows.net/connections/messages": "", "http://127.0.0.1:7071/eventhub/messages": "",
		"https://contoso.servicebus.windows.net/connections":                   "with /messages at its end",
		"https://contoso.servicebus.windows.net":                               "with /<event hub>/messages",
		"http://contoso.servicebus.windows.net/connections/messages":           "want https",
		"https://contoso.servicebus.windows.net/connections/messages?sig=1234": "want the address alone",
		"https://u:p@contoso.servicebus.windows.net/connections/messages":      "want the address alone",
		"%zz": "is not a URL",
	} {
		err := CheckEventHub(value)
		if want == "" != (err == nil) || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "1234")) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}

// TestSend sends a message to an event hub of this machine, which gets no token, and to ones that
// refuse it, are away, or lead elsewhere.
func TestSend(t *testing.T) {
	var status int
	var got []*http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = append(got, r), string(b)
		w.Header().Set("Location", "/elsewhere/messages")
		w.WriteHeader(status)
	}))
	defer server.Close()
	hub, err := OpenEventHub(server.URL+"/connections/messages", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		status, requests int
		want             string
	}{
		{http.StatusCreated, 1, ""}, {http.StatusOK, 1, "event hub: 200 OK"}, {http.StatusUnauthorized, 1, "event hub: 401 Unauthorized"}, {http.StatusNotFound, 1, "event hub: 404 Not Found"},
		{http.StatusServiceUnavailable, 2, "event hub: 503 Service Unavailable"}, {http.StatusFound, 1, "event hub: 302 Found"},
	} {
		status, got = test.status, nil
		err := hub.Send(t.Context(), []byte(`{"a":1}`))
		if test.want == "" != (err == nil) || err != nil && err.Error() != test.want || len(got) != test.requests || body != `{"a":1}` {
			t.Errorf("%d: error %v, want %q; %d requests, want %d, body %s", test.status, err, test.want, len(got), test.requests, body)
		}
		if r := got[0]; r.Method != http.MethodPost || r.URL.Path != "/connections/messages" || r.URL.Query().Get("api-version") == "" || r.Header.Get("Authorization") != "" {
			t.Errorf("%d: %s %s %v", test.status, r.Method, r.URL, r.Header)
		}
	}
	server.Close()
	if err := hub.Send(t.Context(), []byte("secret")); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	if _, err := OpenEventHub("https://contoso.servicebus.windows.net", nil); err == nil {
		t.Error("an address without an event hub is opened")
	}
}

// asked is a credential that says for what it was asked.
type asked struct{ scopes []string }

func (a *asked) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	a.scopes = append(a.scopes, o.Scopes...)
	return azcore.AccessToken{Token: "none", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestSendWithIdentity checks for what a token is asked. The address is one that nobody has
// (RFC 2606), so nothing is sent.
func TestSendWithIdentity(t *testing.T) {
	identity := &asked{}
	hub, err := OpenEventHub("https://contoso.invalid/connections/messages", identity)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := hub.Send(ctx, nil); err == nil || strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
	if len(identity.scopes) == 0 || identity.scopes[0] != "https://eventhubs.azure.net/.default" {
		t.Errorf("scopes %v", identity.scopes)
	}
}
