package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// TestSignature compares with the example of the specification
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#symmetric).
func TestSignature(t *testing.T) {
	key, err := parseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := signatures([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("have %s, want %s", got, want)
	}
}

// verified reports whether a request is signed with testKey, and when.
func verified(r request) (time.Time, bool) {
	unix, err := strconv.ParseInt(r.header.Get("webhook-timestamp"), 10, 64)
	at := time.Unix(unix, 0)
	return at, err == nil && r.header.Get("webhook-signature") == signatures([][]byte{testKey}, r.header.Get("webhook-id"), at, []byte(r.body))
}

func TestWebhook(t *testing.T) {
	r := newReceiver(t, nil)
	c := channel(t, r.URL+"/hook#secret="+testSecret)
	m := raised(1)
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := r.requests()[0]
	at, ok := verified(got)
	if !ok || time.Since(at) > time.Minute {
		t.Errorf("the signature is wrong: %v", got.header)
	}
	if got.header.Get("webhook-id") != m.ID || got.path != "/hook" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("have %s %v", got.path, got.header)
	}
	var p payload
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Alert.Reference, p.Data.Reference); diff != "" || p.Type != export.TypeRaised || p.Command != "hubwatch alerts show "+m.Alert.Reference {
		t.Errorf("have %s", got.body)
	}
	if want := "Medium: A certificate was added (contoso-hub): ops@contoso.com added the certificate contoso-root to contoso-hub."; p.Sentence != want {
		t.Errorf("the sentence is %q, want %q", p.Sentence, want)
	}
}

// TestSecondSecret has a receiver change its secret: each message is signed with both.
func TestSecondSecret(t *testing.T) {
	r := newReceiver(t, nil)
	const next = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	if err := channel(t, r.URL+"#secret="+testSecret+","+next).Send(t.Context(), raised(1)); err != nil {
		t.Fatal(err)
	}
	got := r.requests()[0]
	both := strings.Split(got.header.Get("webhook-signature"), " ")
	if len(both) != 2 {
		t.Fatalf("have the signatures %v, want two", both)
	}
	unix, err := strconv.ParseInt(got.header.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for i, secret := range []string{testSecret, next} {
		key, err := parseSecret(secret)
		if err != nil {
			t.Fatal(err)
		}
		if want := signatures([][]byte{key}, got.header.Get("webhook-id"), time.Unix(unix, 0), []byte(got.body)); both[i] != want {
			t.Errorf("the signature %d is %s, want %s", i+1, both[i], want)
		}
	}
	for _, wrong := range []string{testSecret + ",", testSecret + ",whsec_x", "," + testSecret, strings.Repeat(testSecret+",", mostSecrets) + testSecret} {
		if _, err := Read(map[string]string{SettingPrefix + "ops": r.URL + "#secret=" + wrong}, ""); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}

// TestStatus has each kind of channel that posts meet each answer.
func TestStatus(t *testing.T) {
	for kind, url := range postedTo {
		for code, want := range map[int]string{
			200: "sent", 202: "sent", 204: "sent", 301: "never", 302: "never", 307: "never", 400: "never", 401: "never", 403: "never", 404: "never", 408: "again", 410: "never",
			413: "never", 425: "again", 429: "again", 500: "again", 502: "again", 503: "again", 504: "again",
		} {
			elsewhere := newReceiver(t, nil)
			r := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", elsewhere.URL)
				w.WriteHeader(code)
			})
			err := channel(t, url(r.URL)).Send(t.Context(), raised(1))
			if got := outcome(err); got != want {
				t.Errorf("%s: %d: %s (%v), want %s", kind, code, got, err, want)
			}
			if err != nil && !strings.Contains(err.Error(), fmt.Sprint(code)) {
				t.Errorf("%s: %d: the error does not say so: %v", kind, code, err)
			}
			if n := len(elsewhere.requests()); n > 0 {
				t.Errorf("%s: %d: a redirect was followed", kind, code)
			}
		}
	}
}

// TestRedirectToNowhere has a service redirect to what is not an address.
func TestRedirectToNowhere(t *testing.T) {
	for _, location := range []string{"", "%zz", "http://[::1", "http://hidden.example.com:port/"} {
		r := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(302)
		})
		err := channel(t, r.URL+"/hook#secret="+testSecret).Send(t.Context(), raised(1))
		if outcome(err) != "never" || !strings.Contains(err.Error(), "302") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", location, err)
		}
	}
}

// postedTo returns the URL of each kind of channel that posts, by the address of a receiver.
var postedTo = map[string]func(address string) string{
	"webhook":    func(a string) string { return a + "/hidden-path?token=hidden-query#secret=" + testSecret },
	"slack":      func(a string) string { return "slack+" + a + "/services/hidden-path" },
	"teams":      func(a string) string { return "teams+" + a + "/workflows/hidden-path?sig=hidden-query" },
	"discord":    func(a string) string { return "discord+" + a + "/api/webhooks/1/hidden-path" },
	"googlechat": func(a string) string { return "googlechat+" + a + "/v1/spaces/x?key=hidden-query&token=hidden-token" },
	"mattermost": func(a string) string { return "mattermost+" + a + "/hooks/hidden-path" },
	"ntfy":       func(a string) string { return "ntfy+" + a + "/hidden-path#key=hidden-key" },
	"telegram":   func(a string) string { return "telegram+" + a + "/bot1:hidden-path/sendMessage?chat_id=42" },
	"pagerduty":  func(a string) string { return "pagerduty+" + a + "/v2/enqueue#key=hidden-key" },
	"opsgenie":   func(a string) string { return "opsgenie+" + a + "/v2/alerts#key=hidden-key" },
}

func TestEveryServiceIsTried(t *testing.T) {
	for kind := range services {
		if postedTo[kind] == nil {
			t.Errorf("the tests post to no %s", kind)
		}
	}
}

// outcome is what an error of Send says.
func outcome(err error) string {
	switch {
	case err == nil:
		return "sent"
	case errors.Is(err, ErrNever):
		return "never"
	}
	return "again"
}

// TestBrokenReceivers checks that every channel gives up in time, and may be tried again.
func TestBrokenReceivers(t *testing.T) {
	refused := httptest.NewServer(nil)
	refused.Close()
	for kind, url := range postedTo {
		hanging := newReceiver(t, nil)
		hanging.answer = func(_ int, _ http.ResponseWriter, r *http.Request) {
			select {
			case <-hanging.ended:
			case <-r.Context().Done():
			}
		}
		for what, address := range map[string]string{"hang": hanging.URL, "reset": newReceiver(t, reset).URL, "refused": refused.URL} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err := channel(t, url(address)).Send(ctx, raised(1))
			cancel()
			if outcome(err) != "again" {
				t.Errorf("%s: %s: %v, want an error that may be tried again", kind, what, err)
			}
		}
	}
}

// TestRetryAfter checks that a service is left alone for as long as it asks.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{"30": 30 * time.Second, now.Add(time.Minute).Format(http.TimeFormat): time.Minute, "86400": mostRetryAfter, "": 0, "-5": 0, "soon": 0} {
		r := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 0 {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(429)
			}
		})
		c := channel(t, r.URL+"#secret="+testSecret).(*webhook)
		at := now
		c.poster.now = func() time.Time { return at }
		if err := c.Send(t.Context(), raised(1)); outcome(err) != "again" {
			t.Fatalf("%q: %v", value, err)
		}
		if want > 0 {
			at = now.Add(want - time.Second)
			if err := c.Send(t.Context(), raised(1)); outcome(err) != "again" || len(r.requests()) != 1 {
				t.Errorf("%q: a second request before the time: %v", value, err)
			}
		}
		at = now.Add(want)
		if err := c.Send(t.Context(), raised(1)); err != nil || len(r.requests()) != 2 {
			t.Errorf("%q: afterwards: %v", value, err)
		}
	}
}

// TestMail sends to a mail server on this machine.
func TestMail(t *testing.T) {
	s := newSink(t, nil)
	c := channel(t, "smtp://ops:hidden-password@"+s.address+"/?from=hubwatch@contoso.com&to=a@contoso.com,b+c@contoso.com")
	m := raised(1)
	m.Alert.AlertDisplayName = "Zertifikat hinzugefügt\r\nBcc: eve@example.com"
	for range 2 {
		if err := c.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	mails := s.got()
	if len(mails) != 2 || mails[0].user != " ops hidden-password" || !slices.Equal(mails[0].to, []string{"TO:<a@contoso.com>", "TO:<b+c@contoso.com>"}) {
		t.Fatalf("have %+v", mails)
	}
	first, err := mail.ReadMessage(strings.NewReader(mails[0].text))
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := new(mime.WordDecoder).DecodeHeader(first.Header.Get("Subject"))
	if want := `Medium: Zertifikat hinzugefügt\u000d\u000aBcc: eve@example.com (contoso-hub)`; subject != want || first.Header.Get("Bcc") != "" {
		t.Errorf("the subject is %q, want %q; the header is %v", subject, want, first.Header)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(first.Body))
	if err != nil || !strings.Contains(string(body), "Show: hubwatch alerts show "+m.Alert.Reference) || !strings.Contains(string(body), "First: Ask ops@contoso.com") {
		t.Errorf("the body is %s", body)
	}
	second, err := mail.ReadMessage(strings.NewReader(mails[1].text))
	if err != nil || first.Header.Get("Message-Id") == "" || first.Header.Get("Message-Id") != second.Header.Get("Message-Id") {
		t.Errorf("two deliveries of one message have the ids %q and %q", first.Header.Get("Message-Id"), second.Header.Get("Message-Id"))
	}
}

// TestMailServers has a mail server refuse, hang and break off at each command.
func TestMailServers(t *testing.T) {
	for _, verb := range []string{"", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."} {
		for text, want := range map[string]string{"451 later": "again", "550 no": "never", "hang": "again", "close": "again"} {
			s := newSink(t, func(v, _ string) string {
				if v == verb {
					return text
				}
				return ""
			})
			if verb == "EHLO" && text[0] >= '0' && text[0] <= '9' {
				want = "again" // go-mail then says HELO, and the server has no AUTH
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err := channel(t, "smtp://ops:hidden-password@"+s.address+"?from=hubwatch@contoso.com&to=a@contoso.com").Send(ctx, raised(1))
			cancel()
			if outcome(err) != want {
				t.Errorf("%q answers %q: %v, want %s", verb, text, err, want)
			}
		}
	}
	for verb, text := range map[string]string{"RSET": "500 no", "QUIT": "close"} { // after the message was taken
		s := newSink(t, func(v, _ string) string {
			if v == verb {
				return text
			}
			return ""
		})
		if err := channel(t, "smtp://"+s.address+"?from=hubwatch@contoso.com&to=a@contoso.com").Send(t.Context(), raised(1)); err != nil || len(s.got()) != 1 {
			t.Errorf("%s answers %q: %v, and %d messages", verb, text, err, len(s.got()))
		}
	}
}

// TestMailRecipients has a mail server refuse some recipients. The others get the message, once,
// however often it comes again, and those who were refused are named by their place.
func TestMailRecipients(t *testing.T) {
	var mu sync.Mutex
	answers := map[string]string{}
	s := newSink(t, func(v, line string) string {
		mu.Lock()
		defer mu.Unlock()
		for address, text := range answers {
			if v == "RCPT" && strings.Contains(line, address) {
				return text
			}
		}
		return ""
	})
	mail := channel(t, "smtp://"+s.address+"?from=hubwatch@contoso.com&to=c@contoso.com,gone@contoso.com,a@contoso.com,a@contoso.com")
	times := func() map[string]int { // by recipient
		times := map[string]int{}
		for _, m := range s.got() {
			for _, to := range m.to {
				times[to]++
			}
		}
		return times
	}
	stage := newStage()
	good := &listener{name: "good"}
	teller := stage.teller(mail, good)
	deliver := func(n int) (string, int) {
		out, err := run(t, teller, raised(n))
		stage.turn(10 * time.Second)
		return fmt.Sprint(err), out.Quarantined
	}

	answers["gone@"], answers["a@"] = "550 no such user", "452 later"
	want := "channel ops: the mail server answered 550 for the recipient 2 of 4, 452 for the recipient 3 of 4"
	for range 2 {
		if got, n := deliver(1); got != want || n != 0 {
			t.Errorf("have %s and %d quarantined, want %s", got, n, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"TO:<c@contoso.com>": 1}, times()); diff != "" {
		t.Error(diff)
	}
	mu.Lock()
	delete(answers, "a@")
	mu.Unlock()
	for i := range 3 {
		if got, n := deliver(1); got != "<nil>" || n != max(1-i, 0) {
			t.Errorf("have %s and %d quarantined", got, n)
		}
	}
	// Each got the alert, and that a recipient is gone.
	if diff := cmp.Diff(map[string]int{"TO:<a@contoso.com>": 2, "TO:<c@contoso.com>": 2}, times()); diff != "" {
		t.Error(diff)
	}
	if len(good.got) != 2 || good.got[1].Kind != Failed {
		t.Errorf("the other channel was told %+v", good.got)
	}
	want = "channel ops: can never be sent: the mail server answered 550 for the recipient 2 of 4"
	if len(stage.kept.list) != 1 || stage.kept.list[0].Reason != want {
		t.Errorf("quarantined: %+v, want %s", stage.kept.list, want)
	}
	for i := range 2 { // a further raising, whose quarantine fails at first
		stage.kept.err = map[int]error{0: errFault}[i]
		if got, n := deliver(2); got == "<nil>" != (i == 1) || n != i {
			t.Errorf("have %s and %d quarantined", got, n)
		}
	}
	if diff := cmp.Diff(map[string]int{"TO:<a@contoso.com>": 3, "TO:<c@contoso.com>": 3}, times()); diff != "" {
		t.Error(diff)
	}
	mu.Lock()
	answers[""] = "550 nobody is here"
	mu.Unlock()
	if err := mail.Send(t.Context(), raised(3)); outcome(err) != "never" || len(s.got()) != 4 {
		t.Errorf("all are refused: %v, and %d messages", err, len(s.got()))
	}
}

// TestNoSecretInErrors has every channel fail in every way, and looks for parts of its URL in
// the errors.
func TestNoSecretInErrors(t *testing.T) {
	secrets := []string{"hidden", testSecret, testSecret[len(secretPrefix):], "127.0.0.1", "/v2/", "http:"}
	look := func(what string, err error) {
		t.Helper()
		for _, s := range secrets {
			if err != nil && strings.Contains(err.Error(), s) {
				t.Errorf("%s: the error has %q: %v", what, s, err)
			}
		}
	}
	echo := func(code int) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, r *http.Request) { // what a careless service answers
			w.Header().Set("Location", "http://hidden.example.com/")
			w.Header().Set("Retry-After", "hidden")
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"error":%q}`, "hidden: http://127.0.0.1"+r.URL.String())
		}
	}
	for kind, url := range postedTo {
		addresses := []string{newReceiver(t, reset).URL, "http://127.0.0.1:1", "https://127.0.0.1:1", "https://hidden.invalid", "https://" + strings.TrimPrefix(newReceiver(t, nil).URL, "http://")}
		for _, code := range []int{301, 400, 401, 404, 410, 429, 500} {
			addresses = append(addresses, newReceiver(t, echo(code)).URL)
		}
		tls := httptest.NewUnstartedServer(http.NotFoundHandler())
		tls.Config.ErrorLog = log.New(io.Discard, "", 0)
		tls.StartTLS()
		t.Cleanup(tls.Close)
		for _, address := range append(addresses, tls.URL) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			err := channel(t, url(address)).Send(ctx, raised(1))
			cancel()
			if err == nil {
				t.Errorf("%s at %s: sent", kind, address)
			}
			look(kind, err)
		}
	}
	for _, answer := range []string{"535 5.7.8 hidden-password is wrong", "454 hidden", "close", "hidden"} {
		s := newSink(t, func(v, _ string) string {
			if v == "AUTH" {
				return answer
			}
			return ""
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := channel(t, "smtp://hidden-user:hidden-password@"+s.address+"?from=hubwatch@contoso.com&to=hidden@contoso.com").Send(ctx, raised(1))
		cancel()
		if err == nil {
			t.Errorf("mail, %q: sent", answer)
		}
		look("mail", err)
	}
	for _, wrong := range []string{
		"://hidden", "https://hidden\x7f", "https://hidden:port/", "http://hidden.example.com/#secret=" + testSecret, "https://hidden:hidden@hidden/#secret=" + testSecret,
		"https://hidden/", "https://hidden/#secret=hidden", "https://hidden/#secret=whsec_hidden", "https://hidden/#hidden=hidden", "https://hidden/#secret=%zz", "https://hidden/#severity=hidden&secret=" + testSecret,
		"https://hidden/#name=hid.den&secret=" + testSecret, "https://hidden/#key=hidden&secret=" + testSecret, "hidden://hidden", "hidden+https://hidden", "slack+hidden://hidden", "slack+https://", "https://hooks.slack.com/hidden#secret=" + testSecret,
		"telegram+https://hidden/", "ntfy+https://hidden/", "pagerduty+https://hidden/", "opsgenie+https://hidden/#secret=hidden", "smtp://", "smtp://hidden", "smtp://hidden?from=hidden&to=hidden",
		"smtp://hidden:99999?from=a@contoso.com&to=b@contoso.com", "smtp://hidden?from=a@contoso.com&to=b@contoso.com&hidden=1", "smtp://hidden?from=a@contoso.com#secret=hidden",
		"@Microsoft.KeyVault(SecretUri=https://hidden.vault.azure.net/secrets/hidden)", "slack+https://a/hidden slack+https://b/hidden", "hidden",
	} {
		channels, err := Read(map[string]string{SettingPrefix + "ops": wrong}, "")
		if err == nil || len(channels) != 0 {
			t.Errorf("%s is taken", wrong)
			continue
		}
		if !strings.HasPrefix(err.Error(), "setting Notify__ops: ") {
			t.Errorf("%s: the error does not name the setting: %v", wrong, err)
		}
		look(wrong, err)
	}
}

func TestRead(t *testing.T) {
	values := map[string]string{
		"AlertsTable":   "alerts",
		"NotifyUrls":    "  slack+https://hooks.slack.com/services/x\n\tslack+https://hooks.slack.com/services/y#severity=high\r\nsmtps://mail.contoso.com?from=a@contoso.com&to=b@contoso.com ",
		"Notify__ops":   "https://contoso.com/hook#severity=Medium&secret=" + testSecret,
		"Notify__empty": "",
		"Notify__wrong": "https://contoso.com/",
	}
	channels, err := Read(values, "https://console.contoso.com")
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.HasPrefix(err.Error(), "setting Notify__wrong:") {
		t.Errorf("have the error %v, want one line about Notify__wrong", err)
	}
	var got []string
	for _, c := range channels {
		got = append(got, fmt.Sprintf("%s %s %s", c.Name(), c.Least, c.Setting))
	}
	want := []string{"mail Low NotifyUrls, URL 3", "ops Medium Notify__ops", "slack Low NotifyUrls, URL 1", "slack-2 High NotifyUrls, URL 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := Read(map[string]string{"Notify__" + strings.Repeat("a", longestName): values["Notify__ops"]}, ""); err != nil {
		t.Error(err)
	}
	for _, wrong := range []map[string]string{
		{"Notify__" + strings.Repeat("a", longestName+1): values["Notify__ops"]},
		{"Notify__ops": values["Notify__ops"], "Notify__OPS": values["Notify__ops"]},
		{"NotifyUrls": values["Notify__ops"] + "&name=x " + values["Notify__ops"] + "&name=X"},
		{"NotifyUrls": strings.Repeat("slack+https://hooks.slack.com/services/x ", mostChannels+1)},
	} {
		if _, err := Read(wrong, ""); err == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
	if !channels[1].wants(alert.Medium) || !channels[1].wants(alert.High) || channels[1].wants(alert.Low) || !channels[1].wants("Critical") || channels[0].wants(alert.Informational) {
		t.Error("the least severity does not decide what a channel is told")
	}
}

// hostile are names that somebody may give to a device, a certificate or himself, to reach the
// people who are told of it.
var hostile = []string{
	"@everyone", "@here @channel @all", "<!channel>", "<@U0000001>", "<users/all>", "<https://evil.example.com|hubwatch>", "[Open the alert](https://evil.example.com)",
	"![x](https://evil.example.com/x.png)", "**Severity: Informational**", "`x` _x_ ~x~ ||x||", "</at><at>everyone</at>", "line\r\nShow: hubwatch alerts set", "\u202egnp.exe", "zero\u200bwidth", "\x1b[2J", "\x00",
	"sig=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU", "SharedAccessKey=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU", `"}],"x":"`, "'; rm -rf ~; '", "$(rm -rf ~)", strings.Repeat("a", 10_000), "\xff\xfe",
}

// TestHostileNames sends alerts about hostile names through all channels.
func TestHostileNames(t *testing.T) {
	for _, n := range hostile {
		m := raised(1)
		a := &m.Alert
		a.Actor, a.CompromisedEntity, a.AlertDisplayName, a.HubName = n, n, "Alert about "+n, n
		a.Description, a.RemediationSteps, a.Reference = "Somebody added "+n+".", []string{"Ask " + n + "."}, n+"/2026-02-01/"+a.SystemAlertID
		for _, kind := range []Kind{Raised, Digest, Failed} {
			m.Kind, m.Count, m.Alerts, m.Channel, m.Reason = kind, 30, []export.Alert{*a}, n, n
			for service, url := range postedTo {
				r := newReceiver(t, nil)
				if err := channel(t, url(r.URL)).Send(t.Context(), m); err != nil {
					t.Errorf("%s, %q: %v", service, n, err)
					continue
				}
				body := r.requests()[0].body
				if !jsontext.Value(body).IsValid() {
					t.Errorf("%s, %q: not JSON: %s", service, n, body)
				}
				for _, s := range textsOf(t, body) {
					checkText(t, service, n, s)
				}
			}
			s := newSink(t, nil)
			if err := channel(t, "smtp://"+s.address+"?from=hubwatch@contoso.com&to=a@contoso.com").Send(t.Context(), m); err != nil {
				t.Errorf("mail, %q: %v", n, err)
				continue
			}
			got, err := mail.ReadMessage(strings.NewReader(s.got()[0].text))
			if err != nil {
				t.Fatalf("mail, %q: %v", n, err)
			}
			body, _ := io.ReadAll(quotedprintable.NewReader(got.Body))
			subject, _ := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
			checkText(t, "mail", n, subject)
			checkText(t, "mail", n, strings.ReplaceAll(string(body), "\r\n", "\n"))
		}
	}
}

// textsOf returns all strings of a document, apart from the alert as programs read it.
func textsOf(t *testing.T, document string) (texts []string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			texts = append(texts, v)
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				if k != "data" && k != "alerts" && k != "channel" {
					walk(e)
				}
			}
		}
	}
	walk(v)
	return texts
}

// checkText checks a text that a service shows.
func checkText(t *testing.T, service, n, s string) {
	t.Helper()
	if strings.Contains(s, "U0VDUkVU") {
		t.Errorf("%s, %q: a credential is told: %q", service, n, s)
	}
	for _, r := range s {
		if r == '\n' || r == '\u200b' && !strings.Contains(n, "\u200b") { // ours
			continue
		}
		if r < ' ' || r == '\u202e' || r == 0x7f {
			t.Errorf("%s, %q: the character %U is told: %q", service, n, r, s)
			break
		}
	}
	if len([]rune(s)) > 4_000 {
		t.Errorf("%s: %d characters, and some services take 4,096", service, len([]rune(s)))
	}
	if strings.HasPrefix(n, "line") && strings.Contains(s, "\nShow: hubwatch alerts set") {
		t.Errorf("%s: a name makes a line of its own: %q", service, s)
	}
	reads := map[string][]string{ // what a service gives a meaning to
		"slack":      nil, // below
		"discord":    {"](", "@everyone", "@here", "<@U", "**Severity"},
		"mattermost": {"](", "@everyone", "@here", "@all", "@channel", "**Severity"},
		"googlechat": {"<users/all>", "<https://", "*Severity"},
		"telegram":   {"@everyone", "@here", "@all", "https://"},
		"opsgenie":   {"<", ">"},
	}
	for _, bad := range reads[service] {
		if strings.Contains(s, bad) {
			t.Errorf("%s, %q: %q is told as it is: %q", service, n, bad, s)
		}
	}
}

// TestDigestNamesTheGravest checks that every channel is told each of the alerts that a digest lists.
func TestDigestNamesTheGravest(t *testing.T) {
	m := raised(1)
	m.Kind, m.Count = Digest, 30
	for n := range mostListed {
		m.Alerts = append(m.Alerts, short(raised(n+1).Alert))
	}
	for service, url := range postedTo {
		r := newReceiver(t, nil)
		if err := channel(t, url(r.URL)).Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		body := r.requests()[0].body
		for _, a := range m.Alerts {
			if !strings.Contains(body, a.Reference) {
				t.Errorf("%s: %s is not told: %s", service, a.Reference, body)
			}
		}
	}
}

// TestTestWakesNobody checks that a test is of the least grade that a pager has.
func TestTestWakesNobody(t *testing.T) {
	for service, want := range map[string]string{"pagerduty": `"severity":"info"`, "opsgenie": `"priority":"P5"`, "ntfy": `"priority":2`} {
		r := newReceiver(t, nil)
		if err := channel(t, postedTo[service](r.URL)).Send(t.Context(), Message{ID: "test/ops/1", Kind: Test, Time: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if got := r.requests()[0].body; !strings.Contains(got, want) {
			t.Errorf("%s: have %s, want %s", service, got, want)
		}
	}
}

// TestSlackReadsNoMarkup checks that names stand in plain text alone.
func TestSlackReadsNoMarkup(t *testing.T) {
	for _, n := range hostile {
		m := raised(1)
		m.Alert.AlertDisplayName, m.Alert.Description, m.Alert.HubName, m.Alert.Reference = n, n, n, n
		_, document := slack(nil, m, compose(m, "https://console.contoso.com"))
		d := document.(object)
		if strings.ContainsAny(d["text"].(string), "<>") {
			t.Errorf("%q: the text is %s", n, d["text"])
		}
		for _, b := range d["blocks"].([]object) {
			e := b["text"].(object)
			if e["type"] == "mrkdwn" && strings.ContainsAny(strings.ReplaceAll(e["text"].(string), "<https://console.contoso.com/", ""), "<!@*~") && !strings.HasPrefix(e["text"].(string), "Show: `") {
				t.Errorf("%q: %s", n, e["text"])
			}
		}
	}
}

// TestLink checks that the console is linked, and that no name leads elsewhere.
func TestLink(t *testing.T) {
	m := raised(1)
	if got, want := compose(m, "https://console.contoso.com/").link, "https://console.contoso.com/alerts/"+m.Alert.Reference; got != want {
		t.Errorf("the link is %q, want %q", got, want)
	}
	for _, n := range hostile {
		m.Alert.Reference = n + "/2026-02-01/" + m.Alert.SystemAlertID
		l := compose(m, "https://console.contoso.com").link
		if l != "" && (!strings.HasPrefix(l, "https://console.contoso.com/alerts/") || strings.ContainsAny(l, " <>\"'`\n")) {
			t.Errorf("%q: the link is %q", n, l)
		}
		if c, want := compose(m, "").command, "hubwatch alerts show "; !strings.HasPrefix(c, want) || strings.Trim(c[len(want):], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/") != "" {
			t.Errorf("%q: the command is %s", n, c)
		}
	}
}
