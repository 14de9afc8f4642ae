package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestNotifyTest sends a test through channels to this machine, one of which is gone.
func TestNotifyTest(t *testing.T) {
	var mu sync.Mutex
	posted := map[string]int{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		posted[r.URL.Path]++
		if r.URL.Path == "/hidden-gone" {
			w.WriteHeader(http.StatusGone)
		}
	}))
	defer receiver.Close()
	settings := map[string]string{"NotifyUrls": "slack+" + receiver.URL + "/hidden-good teams+" + receiver.URL + "/hidden-gone#name=ops"}
	try := func() (int, string) {
		var stdout, stderr strings.Builder
		code := run(t.Context(), []string{"notify", "test"}, func(name string) string { return settings[name] }, nil, &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	code, text := try()
	if want := "failed   ops: can never be sent: answered HTTP 410: nobody listens there any more\nok       slack: the service took the message\n"; code != 1 || text != want {
		t.Errorf("exit code %d, %s\nwant 1, %s", code, text, want)
	}
	if posted["/hidden-good"] != 1 || posted["/hidden-gone"] != 1 {
		t.Errorf("posted: %v", posted)
	}
	settings["NotifyUrls"] = "slack+" + receiver.URL + "/hidden-good"
	if code, text := try(); code != 0 {
		t.Errorf("all is well, and the exit code is %d: %s", code, text)
	}
	for value, want := range map[string]string{
		"":                            "hubwatch: no channel is set: say NotifyUrls, Notify__<name> or Sentinel__endpoint\n",
		"https://hidden.example.com/": "wrong    NotifyUrls: after the #, secret=: want a secret that begins with whsec_\n",
		"https://hidden.example.com/ slack+" + receiver.URL + "/hidden-good  slack+http://hidden.example.com/": "ok       slack: the service took the message\n" +
			"wrong    NotifyUrls: URL 1: after the #, secret=: want a secret that begins with whsec_\n" +
			"wrong    NotifyUrls: URL 3: want https: http is for this machine alone\n",
		"@Microsoft.KeyVault(SecretUri=hidden)": "wrong    NotifyUrls: its reference to the Key Vault was not resolved: the identity of the app needs the role Key Vault Secrets User, and the secret has to exist\n",
	} {
		settings["NotifyUrls"] = value
		if code, text := try(); code != 1 || text != want {
			t.Errorf("%q: exit code %d, %s", value, code, text)
		}
	}
}

// TestNotifyTestAsksSentinel has the settings of Microsoft Sentinel, and a person who interrupts, so
// that nothing is asked.
func TestNotifyTestAsksSentinel(t *testing.T) {
	settings := map[string]string{"Sentinel__endpoint": "https://contoso.westeurope-1.ingest.monitor.azure.com", "Sentinel__ruleId": "dcr-00000000000000000000000000000001"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr strings.Builder
	if code := run(ctx, []string{"notify", "test"}, func(name string) string { return settings[name] }, nil, &stdout, &stderr); code == 0 || !strings.HasPrefix(stdout.String(), "failed   sentinel: ") {
		t.Errorf("exit code %d: %s%s", code, stdout.String(), stderr.String())
	}
}
