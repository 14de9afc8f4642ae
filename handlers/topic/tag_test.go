package topic

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const tagsOfHubwatch = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.ManagedIdentity/userAssignedIdentities/hubwatch/providers/Microsoft.Resources/tags/default"

func TestCheckTag(t *testing.T) {
	const group = "https://management.azure.com/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Resources/tags/default"
	for value, want := range map[string]string{
		"https://management.azure.com" + tagsOfHubwatch: "", "http://127.0.0.1:7071" + tagsOfHubwatch: "", "https://MANAGEMENT.azure.com" + strings.ToUpper(tagsOfHubwatch): "",
		group:                          "with the id of a resource and",
		"https://management.azure.com": "want the whole address of the tags of a resource",
		"http://management.azure.com" + tagsOfHubwatch:                           "want https",
		"https://management.azure.com" + tagsOfHubwatch + "?api-version=1234":    "want the address alone",
		"https://management.azure.com" + strings.TrimSuffix(tagsOfHubwatch, "t"): "and /providers/Microsoft.Resources/tags/default",
	} {
		err := CheckTag(value)
		if want == "" != (err == nil) || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "1234")) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}

// TestWriteTag writes the tag at an address of this machine, which gets no token, and at ones that
// refuse it, are away, or lead elsewhere.
func TestWriteTag(t *testing.T) {
	var status int
	var got []*http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = append(got, r), string(b)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer server.Close()
	tag, err := OpenTag(server.URL+tagsOfHubwatch, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		status, requests int
		want             string
	}{
		{http.StatusOK, 1, ""}, {http.StatusAccepted, 1, ""}, {http.StatusForbidden, 1, "tag: 403 Forbidden: the right to write it is missing, or a deployment denies it"},
		{http.StatusNotFound, 1, "tag: 404 Not Found"}, {http.StatusServiceUnavailable, 2, "tag: 503 Service Unavailable"}, {http.StatusFound, 1, "tag: 302 Found"},
	} {
		status, got = test.status, nil
		err := tag.Write(t.Context(), "2026-02-01T10:07:00Z")
		if test.want == "" != (err == nil) || err != nil && err.Error() != test.want || len(got) != test.requests || body != `{"operation":"Merge","properties":{"tags":{"hubwatch-canary":"2026-02-01T10:07:00Z"}}}` {
			t.Errorf("%d: error %v, want %q; %d requests, want %d, body %s", test.status, err, test.want, len(got), test.requests, body)
		}
	}
	if r := got[0]; r.Method != http.MethodPatch || r.URL.Path != tagsOfHubwatch || r.URL.RawQuery != "api-version=2021-04-01" || r.Header.Get("Authorization") != "" {
		t.Errorf("%s %s, authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}
	server.Close()
	if err := tag.Write(t.Context(), "now"); err == nil || !strings.HasPrefix(err.Error(), "tag: ") {
		t.Errorf("error %v, want that nobody listens", err)
	}
	if _, err := OpenTag("https://management.azure.com", nil); err == nil {
		t.Error("an address without a resource is taken")
	}
}

// TestTokenOfATag checks for what a token is asked. The address is one that nobody has (RFC 2606),
// so nothing is written.
func TestTokenOfATag(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	credential := &asked{}
	tag, err := OpenTag("https://contoso.invalid"+tagsOfHubwatch, credential)
	if err != nil {
		t.Fatal(err)
	}
	if err := tag.Write(ctx, "now"); err == nil || strings.Contains(err.Error(), "none") || len(credential.scopes) == 0 || credential.scopes[0] != "https://contoso.invalid/.default" {
		t.Errorf("error %v, scopes %q", err, credential.scopes)
	}
}
