package functions

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

const answerBinding = `{"type":"http","direction":"out","name":"res"}`

// caller calls the HTTP function Asking. A test answers for the handler.
type caller struct {
	*Host
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request)
}

// httpApp starts an app whose HTTP trigger has further members. The app may have
// an http output, and forward requests.
func httpApp(t *testing.T, trigger, output string, forwarding bool, options Options) *caller {
	t.Helper()
	c := &caller{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answer(w, r)
	}))
	t.Cleanup(server.Close)
	root := app(t, map[string]any{"customHandler": map[string]any{"enableForwardingHttpRequest": forwarding}})
	if output != "" {
		output = "," + output
	}
	write(t, filepath.Join(root, "Asking", "function.json"),
		`{"bindings":[{"type":"httpTrigger","direction":"in","name":"req"`+trigger+`}`+output+`]}`)
	options.Env = append(options.Env, "ASK="+server.URL)
	options.Strict = true
	c.Host = start(t, root, options)
	return c
}

// call makes a request and answers for the handler.
func (c *caller) call(t *testing.T, r *http.Request, answer func(w http.ResponseWriter, r *http.Request)) *http.Response {
	t.Helper()
	c.mu.Lock()
	c.answer = answer
	c.mu.Unlock()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r.WithContext(within(t)))
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func says(body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

// TestHTTPRequest covers what the handler gets for a request.
func TestHTTPRequest(t *testing.T) {
	c := httpApp(t, `,"authLevel":"anonymous","route":"alerts/{hub}/{id?}","methods":["get","post"]`, answerBinding, false, Options{})
	var got struct {
		Data     struct{ Req jsontext.Value }
		Metadata map[string]jsontext.Value
	}
	in := httptest.NewRequest("POST", "http://localhost:7071/API/Alerts/my%20hub?day=1&day=2&code=key", strings.NewReader(`{"a":"é"}`))
	in.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"a", "b"}}
	r := c.call(t, in, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/Asking" || r.Method != "POST" || !strings.HasPrefix(r.Header.Get("Traceparent"), "00-") {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		if err := json.UnmarshalRead(r.Body, &got, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Error(err)
		}
		io.WriteString(w, `{"Outputs":{"res":{"statusCode":201,"body":"made"}}}`)
	})
	if r.StatusCode != 201 || text(t, r) != "made" {
		t.Errorf("status %d", r.StatusCode)
	}
	const want = `{"Url":"http://localhost:7071/API/Alerts/my%20hub?day=1&day=2&code=key","Method":"POST","Query":{"code":"key","day":"1,2"},` +
		`"Headers":{"Accept":["a","b"],"Content-Type":["application/json"],"Host":["localhost:7071"]},"Params":{"hub":"my hub","id":null},` +
		`"Identities":[{"AuthenticationType":null,"IsAuthenticated":false,"Actor":null,"BootstrapContext":null,"Claims":[],"Label":null,"Name":null,` +
		`"NameClaimType":"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",` +
		`"RoleClaimType":"http://schemas.microsoft.com/ws/2008/06/identity/claims/role"}],"Body":"{\"a\":\"é\"}"}`
	if diff := cmp.Diff(want, string(got.Data.Req)); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	delete(got.Metadata, "sys")
	metadata := map[string]jsontext.Value{
		"day": jsontext.Value(`"\"1,2\""`), "hub": jsontext.Value(`"\"my hub\""`), "Params": jsontext.Value(`{"hub":"my hub","id":null}`),
		"Query":   jsontext.Value(`{"code":"key","day":"1,2"}`),
		"Headers": jsontext.Value(`{"Accept":"a,b","Content-Type":"application/json","Host":"localhost:7071"}`),
	}
	if diff := cmp.Diff(metadata, got.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	in = httptest.NewRequest("POST", "/api/alerts/h/i/", strings.NewReader("\x00\xff"))
	in.Header.Set("Content-Type", "application/octet-stream")
	r = c.call(t, in, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"Body":"AP8="`) || !strings.Contains(string(body), `"Params":{"hub":"h","id":"i"}`) {
			t.Errorf("got %s, want the bytes in Base64", body)
		}
		io.WriteString(w, `{"Outputs":{"res":{"body":null}}}`)
	})
	if r.StatusCode != 200 || text(t, r) != "" {
		t.Errorf("status %d", r.StatusCode)
	}
}

// TestHTTPAnswer covers what the caller gets for what the handler answers.
func TestHTTPAnswer(t *testing.T) {
	named := httpApp(t, ``, answerBinding, false, Options{})
	returns := httpApp(t, ``, strings.Replace(answerBinding, "res", "$return", 1), false, Options{})
	without := httpApp(t, ``, ``, false, Options{})
	const plainText = "text/plain; charset=utf-8"
	tests := []struct {
		name         string
		app          *caller
		answer       string
		status       int
		media, wants string
	}{
		{"text", named, `{"Outputs":{"res":{"body":"hello"}}}`, 200, plainText, "hello"},
		{"text that looks like Base64", named, `{"Outputs":{"res":{"body":"YWJj"}}}`, 200, plainText, "YWJj"},
		{"status as text", named, `{"outputs":{"res":{"StatusCode":"404","Body":"none"}}}`, 404, plainText, "none"},
		{"status by its other name", named, `{"Outputs":{"res":{"status":409,"body":"again"}}}`, 409, plainText, "again"},
		{"both", named, `{"Outputs":{"res":{"status":409,"statusCode":410,"body":""}}}`, 410, plainText, ""},
		{"no number", named, `{"Outputs":{"res":{"statusCode":"fine","body":""}}}`, 200, plainText, ""},
		{"object", named, `{"Outputs":{"res":{"headers":{"content-type":"application/json"},"body":{"a":[1,{}]}}}}`, 200,
			"application/json; charset=utf-8", "{\n  \"a\": [\n    1,\n    {}\n  ]\n}"},
		{"boolean", named, `{"Outputs":{"res":{"body":true}}}`, 200, plainText, "True"},
		{"encoded twice", named, `{"Outputs":{"res":"{\"body\":\"hello\"}"}}`, 200, plainText, "hello"},
		{"other outputs", named, `{"Outputs":{}}`, 200, plainText, "{}"},
		{"no outputs", named, `{}`, 204, "", ""},
		{"no status of an answer", named, `{"Outputs":{"res":{"statusCode":99,"body":""}}}`, 500, "", ""},
		{"text instead of an object", named, `{"Outputs":{"res":"hello"}}`, 500, "", ""},
		{"number instead of an object", named, `{"Outputs":{"res":5}}`, 500, "", ""},
		{"not an answer", named, `[]`, 500, "", ""},

		{"returned object", returns, `{"ReturnValue":{"statusCode":201,"body":{"a":1}}}`, 201, plainText, `{"a":1}`},
		{"returned list", returns, `{"ReturnValue":{"body":[1]}}`, 500, "", ""},
		{"returned without a body", returns, `{"ReturnValue":{"a":1}}`, 200, plainText, "{\n  \"a\": 1\n}"},
		{"returned text", returns, `{"ReturnValue":"hello you"}`, 200, plainText, "hello you"},
		{"returned Base64", returns, `{"ReturnValue":"YWJj"}`, 200, "", "abc"},
		{"returned JSON in text", returns, `{"ReturnValue":"{\"body\":\"hello\"}"}`, 200, plainText, "hello"},
		{"nothing returned", returns, `{"ReturnValue":null}`, 204, "", ""},

		{"no binding", without, `{"Outputs":{"res":{"body":"lost"}}}`, 204, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := test.app.call(t, httptest.NewRequest("GET", "/api/Asking", nil), says(test.answer))
			if body := text(t, r); r.StatusCode != test.status || r.Header.Get("Content-Type") != test.media || body != test.wants {
				t.Errorf("got %d %s %q, want %d %s %q", r.StatusCode, r.Header.Get("Content-Type"), body, test.status, test.media, test.wants)
			}
		})
	}
}

// TestHTTPFailures: the caller gets 500 for a handler that fails, whatever the
// handler answers. An empty answer ends the handler, as with other triggers.
func TestHTTPFailures(t *testing.T) {
	log := newLogs()
	c := httpApp(t, ``, answerBinding, false, Options{Logger: log.logger()})
	r := c.call(t, httptest.NewRequest("GET", "/api/asking", nil), func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "secret", http.StatusBadGateway)
	})
	if body := text(t, r); r.StatusCode != 500 || body != "" {
		t.Errorf("a failure is answered %d %q, want 500 without a body", r.StatusCode, body)
	}
	w := c.current()
	r = c.call(t, httptest.NewRequest("GET", "/api/asking", nil), says(""))
	if r.StatusCode != 500 || !log.has("HANG") {
		t.Errorf("an empty answer is answered %d", r.StatusCode)
	}
	receive(t, "restart of the handler", w.replaced)
	if r = c.call(t, httptest.NewRequest("GET", "/api/asking", nil), says(`{}`)); r.StatusCode != 204 {
		t.Errorf("after the restart: %d", r.StatusCode)
	}
	c.Close()
	if r = c.call(t, httptest.NewRequest("GET", "/api/asking", nil), says(`{}`)); r.StatusCode != 503 {
		t.Errorf("a stopped app answered %d", r.StatusCode)
	}
}

// TestForwarding: with enableForwardingHttpRequest the handler gets the original
// request, and the caller gets the original answer.
func TestForwarding(t *testing.T) {
	c := httpApp(t, `,"route":"page/{*file}"`, answerBinding, true, Options{})
	in := httptest.NewRequest("PUT", "http://example.test/api/page/a/b%20c?q=1&q=2", strings.NewReader("body"))
	in.Header = http.Header{"X-Custom": {"1", "2"}, "User-Agent": {"curl"}, "Content-Type": {"text/x"}, "Connection": {"close"}}
	r := c.call(t, in, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "PUT" || r.URL.RequestURI() != "/api/page/a/b%20c?q=1&q=2" || r.Host != "example.test" || string(body) != "body" {
			t.Errorf("%s %s %s %s", r.Method, r.URL, r.Host, body)
		}
		if h := r.Header; len(h["X-Custom"]) != 2 || h.Get("User-Agent") != "curl Azure-Functions-Host/"+hostVersion || h.Get("Content-Type") != "text/x" ||
			h.Get("X-Azure-Functions-InvocationId") == "" || h.Get("Traceparent") == "" {
			t.Errorf("header %v", h)
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "<p>")
	})
	if body := text(t, r); r.StatusCode != 418 || body != "<p>" || r.Header.Get("Content-Type") != "text/html" || len(r.Header["Set-Cookie"]) != 2 {
		t.Errorf("got %d %v %q", r.StatusCode, r.Header, body)
	}
	for name, status := range map[string]int{"empty": 200, "failure": 500} {
		r = c.call(t, httptest.NewRequest("GET", "/api/page", nil), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if body := text(t, r); r.StatusCode != status || body != "" {
			t.Errorf("%s: got %d %q", name, r.StatusCode, body)
		}
	}
	r = c.call(t, httptest.NewRequest("HEAD", "/api/page", nil), func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Head", "1") })
	if r.StatusCode != 200 || r.Header.Get("X-Head") != "1" {
		t.Errorf("HEAD: %d %v", r.StatusCode, r.Header)
	}
}

// TestRoutes covers which function gets a request, and which functions need a
// key.
func TestRoutes(t *testing.T) {
	root := app(t, map[string]any{"extensions": map[string]any{"http": map[string]any{"routePrefix": "v1/app"}}},
		`Any={"type":"httpTrigger","name":"req","authLevel":"anonymous","methods":["GET"]}`,
		`Item={"type":"httpTrigger","name":"req","authLevel":"Function","route":"/items/{id}"}`,
		`Rest={"type":"httpTrigger","name":"req","authLevel":"admin","route":"files/{*path}","methods":["get"]}`,
		`Write={"type":"httpTrigger","name":"req","authLevel":"anonymous","route":"files/{*path}","methods":["POST"]}`,
		"Grid")
	f := start(t, root, Options{Key: "master", Strict: true})
	tests := []struct {
		method, path, key string
		status            int
	}{
		{"GET", "/v1/app/any", "", 204},
		{"GET", "/V1/App/ANY/", "", 204},
		{"POST", "/v1/app/any", "", 404},
		{"GET", "/api/any", "", 404},
		{"GET", "/any", "", 404},
		{"GET", "/v1/app/any/more", "", 404},
		{"GET", "/v1/app/items", "master", 404},
		{"GET", "/v1/app/items/", "master", 404},
		{"GET", "/v1/app/items/1", "master", 204},
		{"GET", "/v1/app/items/1?CODE=master", "", 204},
		{"GET", "/v1/app/items/1", "", 401},
		{"GET", "/v1/app/items/1", "other", 401},
		{"DELETE", "/v1/app/items/1", "master", 204},
		{"GET", "/v1/app/items/1/2", "master", 404},
		{"GET", "/v1/app/files", "master", 204},
		{"GET", "/v1/app/files/a/b", "master", 204},
		{"GET", "/v1/app/files/a/b", "", 401},
		{"POST", "/v1/app/files/a/b", "", 204},
		{"PUT", "/v1/app/files/a/b", "", 404},
		{"GET", "/v1/app/grid", "master", 404},
		{"GET", "/", "", 404},
		{"POST", "/admin/functions/Grid", "", 401},
		{"POST", "/admin/functions/Other", "master", 404},
		{"GET", "/admin/functions/Grid", "master", 405},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path+" "+test.key, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(test.method, test.path, strings.NewReader(`{}`))
			if test.key != "" {
				r.Header.Set("x-functions-key", test.key)
			}
			f.ServeHTTP(w, r)
			if w.Code != test.status {
				t.Errorf("answered %d, want %d", w.Code, test.status)
			}
		})
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/admin/functions/Grid", strings.NewReader(`{`))
	r.Header.Set("x-functions-key", "master")
	if f.ServeHTTP(w, r); w.Code != http.StatusBadRequest {
		t.Errorf("no JSON is answered %d, want 400", w.Code)
	}
}

// TestMalformedTriggers: an error names the file and the member that is wrong.
func TestMalformedTriggers(t *testing.T) {
	const request, timer = `{"type":"httpTrigger","name":"req",`, `{"type":"timerTrigger","name":"t",`
	tests := []struct{ name, bindings, want string }{
		{"level", request + `"authLevel":"public"}`, `bindings[0].authLevel: "public"`},
		{"constraint", request + `"route":"items/{id:int}"}`, `bindings[0].route: "{id:int}" is not supported`},
		{"optional in between", request + `"route":"{id?}/x"}`, `bindings[0].route: "{id?}" is not at the end`},
		{"twice", request + `"route":"{id}/{ID}"}`, `bindings[0].route: "{id}/{ID}" has the parameter ID twice`},
		{"empty part", request + `"route":"a//b"}`, `bindings[0].route: "a//b" has an empty part`},
		{"built in", request + `"route":"admin/x"}`, `bindings[0].route: "admin/x" conflicts`},
		{"two answers", request + `"route":"x"},` + answerBinding + `,` + answerBinding, `bindings[2].type: there is one`},
		{"answer to nobody", timer + `"schedule":"00:01:00"},` + answerBinding, `the binding res is an answer`},
		{"answer that goes in", request + `"route":"x"},{"type":"http","name":"res"}`, `bindings[1].direction: "" is not out`},
		{"no schedule", timer + `"direction":"in"}`, `bindings[0].schedule: it is missing`},
		{"no such schedule", timer + `"schedule":"soon"}`, `bindings[0].schedule: "soon"`},
		{"same route", request + `"route":"/ONE/"}`, `the route "ONE" conflicts with that of the function 'First'`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := app(t, nil, `First={"type":"httpTrigger","name":"req","route":"one"}`)
			file := filepath.Join(root, "Second", "function.json")
			write(t, file, `{"bindings":[`+test.bindings+`]}`)
			_, err := Start(t.Context(), Options{ScriptRoot: root, Strict: true})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want an error with %s and %s", err, file, test.want)
			}
		})
	}
}
