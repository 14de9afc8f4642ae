package azurite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func mainScript(t *testing.T) string {
	t.Helper()
	main, err := Find("../../..")
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return main
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	if _, err := Find(root); err == nil || !strings.Contains(err.Error(), "make test install it") {
		t.Errorf("got %v, want the advice how to install it", err)
	}
	want := filepath.Join(root, "build/azurite/node_modules/azurite/dist/src/table/main.js")
	write(t, want, "")
	if got, err := Find(root); err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func TestInMemory(t *testing.T) {
	var output bytes.Buffer
	a, err := Start(within(t), Options{Main: mainScript(t), Output: &output})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Kill()
	r, err := http.Get(a.Endpoint() + "/Tables")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("status %d without credentials, want 403", r.StatusCode)
	}
	if s := a.ConnectionString(); !strings.Contains(s, "TableEndpoint="+a.Endpoint()+";") || !strings.Contains(s, "AccountName=devstoreaccount1;") {
		t.Errorf("connection string %s", s)
	}
	pid := a.process.Process.Pid
	a.Kill()
	a.Kill()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d still exists: %v", pid, err)
	}
	if !strings.Contains(output.String(), "successfully started") {
		t.Errorf("output %q", output.String())
	}
}

func TestFailures(t *testing.T) {
	script := filepath.Join(t.TempDir(), "main.js")
	write(t, script, "process.exit(3)")
	if _, err := Start(within(t), Options{Main: script}); err == nil || !strings.Contains(err.Error(), "exit") {
		t.Errorf("got %v, want the exit of the process", err)
	}
	write(t, script, "setInterval(() => {}, 1000)")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Options{Main: script}); err == nil {
		t.Error("no error after the context ended")
	}
	if _, err := Start(within(t), Options{Main: script, CertFile: "none"}); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("got %v, want the missing certificate", err)
	}
}

// TestBusyPort says that a port which another server has is an error if the caller chose it.
// If nobody did, other ports are tried, and not for ever.
func TestBusyPort(t *testing.T) {
	main := mainScript(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Start(within(t), Options{Main: main, Port: other.Addr().(*net.TCPAddr).Port}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want a port that is in use", err)
	}
	folder := t.TempDir()
	tries := filepath.Join(folder, "tries")
	busy := filepath.Join(folder, "busy.js")
	write(t, busy, `require("fs").appendFileSync(`+strconv.Quote(tries)+`, "x"); console.error("listen EADDRINUSE"); process.exit(1)`)
	if _, err := Start(within(t), Options{Main: busy}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want a port that is in use", err)
	}
	if made, err := os.ReadFile(tries); err != nil || len(made) != portLimit {
		t.Errorf("%d tries, %v, want %d", len(made), err, portLimit)
	}
	late := filepath.Join(folder, "late.js")
	write(t, late, `const fs = require("fs");
if (fs.existsSync(`+strconv.Quote(tries)+`)) {
	fs.unlinkSync(`+strconv.Quote(tries)+`);
	console.error("listen EADDRINUSE");
	process.exit(1);
}
require(`+strconv.Quote(main)+`)`)
	a, err := Start(within(t), Options{Main: late})
	if err != nil {
		t.Fatal(err)
	}
	a.Kill()
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

// TestKeyless goes the way of a managed identity: certificate, token, HTTPS. A
// table made so is still there after a clean stop and a new start.
func TestKeyless(t *testing.T) {
	main := mainScript(t)
	certFile, keyFile, err := WriteCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	identity, err := StartIdentity(IdentityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer identity.Close()
	options := Options{Main: main, Location: t.TempDir(), CertFile: certFile, KeyFile: keyFile}
	a, err := Start(within(t), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { a.Kill() }()
	token := askToken(t, identity, "https://storage.azure.com", "")
	if status, body := tables(t, a, token, http.MethodPost, `{"TableName":"kept"}`); status != http.StatusCreated {
		t.Fatalf("create: %d %s", status, body)
	}
	if status, _ := tables(t, a, "x"+token, http.MethodGet, ""); status != http.StatusForbidden && status != http.StatusUnauthorized {
		t.Errorf("a broken token was answered %d", status)
	}
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	if a, err = Start(within(t), options); err != nil {
		t.Fatal(err)
	}
	if status, body := tables(t, a, token, http.MethodGet, ""); status != http.StatusOK || !strings.Contains(body, "kept") {
		t.Errorf("list: %d %s", status, body)
	}
}

func tables(t *testing.T, a *Service, token, method, body string) (int, string) {
	t.Helper()
	client, err := a.client()
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(within(t), method, a.Endpoint()+"/Tables", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("x-ms-version", "2019-02-02")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json;odata=nometadata")
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// askToken asks as azidentity does.
func askToken(t *testing.T, identity *Identity, resource, clientID string) string {
	t.Helper()
	env := map[string]string{}
	for _, entry := range identity.Env() {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	r, err := http.NewRequestWithContext(within(t), http.MethodGet, env["IDENTITY_ENDPOINT"]+"?api-version=2019-08-01&resource="+resource+"&client_id="+clientID, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-IDENTITY-HEADER", env["IDENTITY_HEADER"])
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return response.Status
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresOn   string `json:"expires_on"`
		TokenType   string `json:"token_type"`
	}
	if err := json.UnmarshalRead(response.Body, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.TokenType != "Bearer" || answer.ExpiresOn == "" {
		t.Errorf("token answer %+v", answer)
	}
	return answer.AccessToken
}

func TestIdentity(t *testing.T) {
	identity, err := StartIdentity(IdentityOptions{ClientID: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	defer identity.Close()
	if got := askToken(t, identity, "https://storage.azure.com", "other"); got != "400 Bad Request" {
		t.Errorf("another client_id was answered %s", got)
	}
	if got := askToken(t, identity, "", "mine"); got != "400 Bad Request" {
		t.Errorf("no resource was answered %s", got)
	}
	if identity.Issued() != 0 {
		t.Errorf("%d tokens issued, want none", identity.Issued())
	}
	if got := askToken(t, identity, "https://storage.azure.com", "mine"); strings.Count(got, ".") != 2 {
		t.Errorf("token %q", got)
	}
	if identity.Issued() != 1 {
		t.Errorf("%d tokens issued, want 1", identity.Issued())
	}
	identity.secret = "changed"
	w, _ := http.NewRequest(http.MethodGet, identity.url+"?resource=x", nil)
	response, err := http.DefaultClient.Do(w)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("no secret was answered %d", response.StatusCode)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// within returns a context with a deadline before the deadline of the test, so
// that a test that hangs says where.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
