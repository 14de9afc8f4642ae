package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/functions"
)

// site is a function app on the stand-in for the Functions host, with tables in Azurite.
type site struct {
	*issuer
	stores *app.App
	host   *functions.Host
	public *httptest.Server // the door of the host
	client *http.Client     // does not follow redirects
	output string           // the file with what the handler prints
}

// log returns what the handler has printed.
func (s *site) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.output)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// shared has what the sites of all tests use: one Azurite, in which each site has tables of its
// own, and the programs, which are built once.
var shared struct {
	sites    int
	tables   *azurite.Service
	folder   string
	programs map[string]string // the file of each
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.tables != nil {
		shared.tables.Kill() // its tables are in memory
	}
	if shared.folder != "" {
		os.RemoveAll(shared.folder)
	}
	os.Exit(code)
}

// emulator returns the Azurite of all tests. Without one the test is skipped, unless
// HUBWATCH_AZURITE is "required".
func emulator(t *testing.T) *azurite.Service {
	t.Helper()
	if shared.tables != nil {
		return shared.tables
	}
	script, err := azurite.Find("../..")
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") == "required" {
			t.Fatal(err)
		}
		t.Skipf("needs Azurite: %v", err)
	}
	if shared.tables, err = azurite.Start(t.Context(), azurite.Options{Main: script}); err != nil {
		t.Fatal(err)
	}
	return shared.tables
}

// built returns the file of a program, which is built as make app builds it.
func built(t *testing.T, program string) string {
	t.Helper()
	if file := shared.programs[program]; file != "" {
		return file
	}
	if shared.folder == "" {
		folder, err := os.MkdirTemp("", "hubwatch-consoleapp-*")
		if err != nil {
			t.Fatal(err)
		}
		shared.folder, shared.programs = folder, map[string]string{}
	}
	file := filepath.Join(shared.folder, fmt.Sprint("handler", len(shared.programs)))
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", file, program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shared.programs[program] = file
	return file
}

// start runs program with host.json and the functions in folder.
func start(t *testing.T, program, folder string, more ...string) *site {
	t.Helper()
	tables, root := emulator(t), t.TempDir()
	if err := os.Symlink(built(t, program), filepath.Join(root, "handler")); err != nil {
		t.Fatal(err)
	}
	shared.sites++
	hostFile, err := os.ReadFile(filepath.Join(folder, "host.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "host.json"), hostFile, 0o600)
	}
	if err == nil {
		err = os.CopyFS(root, os.DirFS(filepath.Join(folder, "functions")))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &site{issuer: newIssuer(t), output: filepath.Join(root, "output")}
	output, err := os.Create(s.output)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { output.Close() })
	certificate := filepath.Join(root, "issuer.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprint("site", shared.sites)
	settings := map[string]string{
		"AlertsStorage": tables.ConnectionString(), "AlertsTable": name + "alerts", "QuarantineTable": name + "quarantine", "SuppressionsTable": name + "suppressions", "StateTables": name,
		"ConsoleIssuer": s.name(), "ConsoleClientId": clientID, "SSL_CERT_FILE": certificate,
	}
	for _, setting := range more {
		name, value, _ := strings.Cut(setting, "=")
		settings[name] = value
	}
	var environment []string
	for name, value := range settings {
		environment = append(environment, name+"="+value)
	}
	if s.stores, err = app.Open(func(name string) string { return settings[name] }); err != nil {
		t.Fatal(err)
	}
	if s.host, err = functions.Start(t.Context(), functions.Options{
		ScriptRoot: root, Env: environment, Output: output, Key: "the key of the app",
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.host.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.host.Ready(ctx); err != nil {
		t.Fatalf("%v\n%s", err, s.log(t))
	}
	s.public = httptest.NewServer(s.host)
	t.Cleanup(s.public.Close)
	s.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

// ask sends a request with the path exactly as it is, and returns the answer.
func (s *site) ask(t *testing.T, method, path, token, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.public.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = "//" + r.URL.Host + path
	if token != "" {
		r.Header.Set(tokenHeader, token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

// occurrence returns one of a detector's cases, and the event in it.
func occurrence(t *testing.T, d detector.Detector) (alert.Occurrence, []byte) {
	t.Helper()
	list, err := cases.Read(os.DirFS("../detector/testdata"), d.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if v := d.Judge(c.Event); len(v.Occurrences) > 0 {
			return v.Occurrences[0], c.Event
		}
	}
	t.Fatalf("no case of %s has an alert", d.Name)
	return alert.Occurrence{}, nil
}

// TestConsoleApp uses the console as people do who sign in, through the Functions host.
func TestConsoleApp(t *testing.T) {
	s := start(t, ".", ".", "ConsoleChanges=true")
	found, _ := occurrence(t, detector.All[0])
	if recorded, err := s.stores.Alerts.Record(t.Context(), found); err != nil || recorded[0].Err != nil {
		t.Fatal(err, recorded)
	}
	ref := alert.Ref{Hub: strings.ToLower(found.Hub.Name), Day: found.Day(), ID: found.ID}
	reader, responder := s.token(t, nil), s.token(t, map[string]any{"roles": []string{roleRespond}})
	page := "/api/console/alerts/" + ref.String()

	for name, test := range map[string]struct {
		method, path, token, body string
		headers                   []string
		status                    int
		want                      string // in the body
	}{
		"nobody":                {"GET", "/api/console/", "", "", nil, 401, `href="/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Fconsole%2F"`},
		"a name in a header":    {"GET", "/api/console/", "", "", []string{"X-MS-CLIENT-PRINCIPAL-NAME: alice@contoso.example"}, 401, "Nobody is signed in"},
		"nobody, JSON":          {"GET", "/api/console/api/alerts", "", "", nil, 401, `"Nobody is signed in."`},
		"over":                  {"GET", "/api/console/", s.token(t, map[string]any{"exp": 1}), "", nil, 401, "Your sign-in is over"},
		"without a role":        {"GET", "/api/console/", s.token(t, map[string]any{"roles": nil}), "", nil, 403, "neither the role Alerts.Read"},
		"the overview":          {"GET", "/api/console/", reader, "", nil, 200, "alice@contoso.example"},
		"without the slash":     {"GET", "/api/console", reader, "", nil, 307, ""},
		"only its head":         {"HEAD", "/api/console/", reader, "", nil, 200, ""},
		"the alert":             {"GET", page, reader, "", nil, 200, "hubwatch raised the alert"},
		"JSON":                  {"GET", "/api/console/api/alerts?status=open", reader, "", nil, 200, `"systemAlertId"`},
		"a reader changes":      {"POST", page, reader, "status=resolved&reason=planned&seen=0", []string{"Sec-Fetch-Site: same-origin"}, 403, "Your role lets you read alerts"},
		"from another site":     {"POST", page, responder, "status=resolved&reason=planned&seen=0", []string{"Sec-Fetch-Site: cross-site"}, 403, "Another site sent this request"},
		"by another method":     {"DELETE", page, responder, "", nil, 404, ""},
		"a page that is not":    {"GET", "/api/console/nothing", reader, "", nil, 404, "There is no such page"},
		"the root of the site":  {"GET", "/", reader, "", nil, 404, ""},
		"the API at the root":   {"GET", "/api/alerts", reader, "", nil, 404, ""},
		"a style for everybody": {"GET", stylesheet(t, s, reader), "", "", nil, 200, "color-scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := s.ask(t, test.method, test.path, test.token, test.body, test.headers...)
			if response.StatusCode != test.status || !strings.Contains(body, test.want) {
				t.Errorf("%s %s: %s\n%.2000s\nwant %d and %q", test.method, test.path, response.Status, body, test.status, test.want)
			}
			if policy := response.Header.Get("Content-Security-Policy"); strings.HasPrefix(test.path, "/api/console/") && test.status != 404 && !strings.HasPrefix(policy, "default-src 'none'") {
				t.Errorf("Content-Security-Policy: %q", policy)
			}
		})
	}

	response, body := s.ask(t, "POST", page, responder, "status=resolved&reason=planned&seen=0", "Sec-Fetch-Site: same-origin")
	if response.StatusCode != http.StatusSeeOther || !strings.HasPrefix(response.Header.Get("Location"), page) {
		t.Fatalf("%s to %q\n%s", response.Status, response.Header.Get("Location"), body)
	}
	a, _, err := s.stores.Alerts.Find(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if want := (alert.Person{Name: "alice@contoso.example", ObjectID: alice}); a.Status != alert.Resolved || a.StatusBy != want {
		t.Errorf("the alert is %s by %v, want Resolved by %v", a.Status, a.StatusBy, want)
	}
	for _, secret := range []string{reader, responder, strings.Split(reader, ".")[2]} {
		if strings.Contains(s.log(t), secret) {
			t.Error("the log has a token")
		}
	}
}

// TestEveryLinkLeadsSomewhere follows all links of the console from its first page, below
// the path of the app. A link that forgot the path would leave the console.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	s := start(t, ".", ".", "ConsoleChanges=true")
	for _, d := range detector.All {
		found, _ := occurrence(t, d)
		if recorded, err := s.stores.Alerts.Record(t.Context(), found); err != nil || recorded[0].Err != nil {
			t.Fatal(err, recorded)
		}
	}
	token := s.token(t, map[string]any{"roles": []string{roleRespond}})
	address := regexp.MustCompile(`(?:href|src|action|data-news)="([^"]*)"`)
	queue, seen := []string{"/api/console/"}, map[string]bool{"/api/console/": true}
	for ; len(queue) > 0 && len(seen) < 300; queue = queue[1:] {
		page := queue[0]
		response, body := s.ask(t, http.MethodGet, page, token, "")
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", page, response.Status)
		}
		if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
			continue
		}
		for _, match := range address.FindAllStringSubmatch(body, -1) {
			link, _, _ := strings.Cut(html.UnescapeString(match[1]), "#")
			switch {
			case link == "" || strings.HasPrefix(link, "?") || seen[link]:
			case !strings.HasPrefix(link, "/api/console/"):
				t.Errorf("%s has a link to %s", page, link)
			case strings.HasSuffix(link, "/remove"), strings.HasPrefix(link, "/api/console/alerts/all?"): // take a POST
			default:
				seen[link] = true
				queue = append(queue, link)
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d addresses were found: %v", len(seen), seen)
	}
	t.Logf("%d addresses", len(seen))
}

// stylesheet returns the address of the style.
func stylesheet(t *testing.T, s *site, token string) string {
	t.Helper()
	_, body := s.ask(t, "GET", "/api/console/", token, "")
	match := regexp.MustCompile(`href="([^"]+style\.css)"`).FindStringSubmatch(body)
	if match == nil {
		t.Fatalf("the page has no style:\n%s", body)
	}
	return match[1]
}

// doors are ways in which a stranger may spell the path of a function, to reach it
// through the public door of a function app. %s is its name.
var doors = []string{
	"/%s", "/api/%s", "//%s", "/%%2f%s", "/api/../%s", "/api/%%2e%%2e/%s", "/api%%2f%s", "/api/%%2F%s", "/api/..%%2f%s", "/./%s", "/%s/", "/%s?x=/api/console/",
	"/api/console/../../%s", "/api/console/%%2e%%2e/%%2e%%2e/%s", "/api/console/..%%2f..%%2f%s", "/api/console/%%2f%s", "/api/console/%s", "/api/console//%s", "/API/CONSOLE/../../%s",
	"/api/console/..;/..;/%s", "/api\\console\\..\\..\\%s", "/admin/functions/%s", "/ADMIN/functions/%s", "/admin/host/../functions/%s", "/runtime/webhooks/%s",
}

// TestDetectorsHaveNoPublicDoor sends the invocation of each function, as the Functions
// host would, to the public door of the app of the detectors and of the console's app.
// The webhook of Event Grid is the only way in, and it asks for a key in Azure. Nothing
// may be judged, and nothing stored.
func TestDetectorsHaveNoPublicDoor(t *testing.T) {
	for name, test := range map[string]struct{ program, folder string }{
		"detectors": {"hubwatch/handlers", "../.."},
		"console":   {".", "."},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.program, test.folder)
			token := s.token(t, map[string]any{"roles": []string{roleRespond}})
			asked := 0
			for _, f := range app.Functions(app.Detectors(), judge.Judge{}) {
				body := `{"Data":{"messages":["{\"records\":[]}"]},"Metadata":{}}`
				for _, d := range detector.All {
					if d.Name == f.Name {
						_, event := occurrence(t, d)
						body = fmt.Sprintf(`{"Data":{"event":%s},"Metadata":{}}`, event)
					}
				}
				for _, function := range []string{f.Name, strings.ToLower(f.Name), strings.ToUpper(f.Name), "%43" + f.Name[1:]} {
					for _, door := range doors {
						path := strings.ReplaceAll(fmt.Sprintf(door, function), `\`, "%5c")
						for _, identity := range []string{"", token} {
							response, answer := s.ask(t, http.MethodPost, path, identity, body,
								"Content-Type: application/json", "X-Azure-Functions-InvocationId: 00000000-0000-4000-8000-000000000001", "User-Agent: Azure-Functions-Host/4.1045.200.25556")
							asked++
							switch {
							case response.StatusCode >= 400 && response.StatusCode < 500:
							case response.StatusCode >= 300 && response.StatusCode < 400 && strings.HasPrefix(response.Header.Get("Location"), app.ConsolePath):
							default:
								t.Errorf("POST %s: %s %s", path, response.Status, answer)
							}
						}
					}
				}
			}
			for _, err := range s.stores.Alerts.List(t.Context(), alert.Query{}) {
				if err == nil {
					t.Fatal("an alert was stored")
				}
			}
			n, more, err := s.stores.Quarantine.Waiting(t.Context(), 10)
			if err != nil || n > 0 || more {
				t.Errorf("%d events are in the quarantine, %v", n, err)
			}
			if asked < 1000 {
				t.Errorf("only %d requests were sent", asked)
			}
			if log := s.log(t); strings.Contains(log, `"findings"`) && test.folder == "../.." {
				t.Errorf("the handler was invoked:\n%s", log)
			}
		})
	}
}

// TestDoorsAreReal checks that the requests of the test above would be noticed: the same
// body at the handler's own port, which only the host knows, is judged and stored.
func TestDoorsAreReal(t *testing.T) {
	s := start(t, "hubwatch/handlers", "../..")
	d := detector.All[0]
	_, event := occurrence(t, d)
	response, err := http.Post(s.host.URL()+"/"+d.Name, "application/json", strings.NewReader(fmt.Sprintf(`{"Data":{"event":%s},"Metadata":{}}`, event)))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	stored := 0
	for _, err := range s.stores.Alerts.List(t.Context(), alert.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		stored++
	}
	if response.StatusCode != http.StatusOK || stored != 1 {
		t.Errorf("%s, and %d alerts; want 200 and one", response.Status, stored)
	}
}

// TestSettings checks that the console does not start without what tells people from
// strangers, and says what is missing.
func TestSettings(t *testing.T) {
	good := url.Values{
		"AlertsStorage": {"UseDevelopmentStorage=true"}, "ConsoleIssuer": {"https://login.microsoftonline.com/" + tenant + "/v2.0"}, "ConsoleClientId": {clientID},
	}
	for name, test := range map[string]struct {
		setting, value, want string
	}{
		"no issuer":           {"ConsoleIssuer", "", "setting ConsoleIssuer: is missing"},
		"no registration":     {"ConsoleClientId", "", "setting ConsoleClientId: is missing"},
		"no account":          {"AlertsStorage", "", "settings AlertsStorage and AlertsStorage__tableServiceUri: want one"},
		"every tenant":        {"ConsoleIssuer", "https://login.microsoftonline.com/common/v2.0", "want the id of the tenant"},
		"not encrypted":       {"ConsoleIssuer", "http://login.microsoftonline.com/" + tenant + "/v2.0", "want an https address"},
		"a token's version 1": {"ConsoleIssuer", "https://sts.windows.net/" + tenant + "/", "then v2.0"},
		"a name":              {"ConsoleClientId", "hubwatch", "a GUID"},
		"neither":             {"ConsoleChanges", "perhaps", "want true or false"},
	} {
		t.Run(name, func(t *testing.T) {
			getenv := func(variable string) string {
				switch variable {
				case test.setting:
					return test.value
				case "FUNCTIONS_CUSTOMHANDLER_PORT":
					return "none" // so that settings that are taken do not serve for ever
				}
				return good.Get(variable)
			}
			var out, errs bytes.Buffer
			if code := run(t.Context(), nil, getenv, &out, &errs); code != 1 || !strings.Contains(errs.String(), test.want) {
				t.Errorf("exit code %d: %s\nwant 1 and %q", code, errs.String(), test.want)
			}
		})
	}
}
