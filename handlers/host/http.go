package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// request is a request as the host gives it to the function of an HTTP trigger
// (Azure/azure-functions-host, HttpRequestExtensions.GetRequestAsJObject;
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#http-triggered-function).
type request struct {
	URL     string `json:"Url"`
	Method  string
	Headers map[string][]string
	Params  map[string]string // of the route
	Body    jsontext.Value    // a string, or what a body of JSON holds
}

// response is the value of the output binding of an HTTP trigger.
type response struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
}

// serveHTTP lets handler answer the request of an invocation.
func serveHTTP(ctx context.Context, handler http.Handler, in Invocation) (Outcome, error) {
	out := Outcome{Events: 1}
	r, err := readRequest(ctx, in.Data)
	if err != nil {
		return out, fmt.Errorf("binding %s: %w", requestBinding, err)
	}
	answer := &recorder{header: http.Header{}}
	handler.ServeHTTP(answer, r)
	if out.response, err = answer.response(); err != nil {
		return out, fmt.Errorf("binding %s: %w", responseBinding, err)
	}
	return out, nil
}

// readRequest returns the request that data describes. The parameters of the route
// are its path values.
func readRequest(ctx context.Context, data jsontext.Value) (*http.Request, error) {
	var v request
	if err := json.Unmarshal(data, &v, jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, err
	}
	body := []byte(v.Body)
	switch v.Body.Kind() {
	case '"':
		var text string
		if err := json.Unmarshal(v.Body, &text, jsontext.AllowInvalidUTF8(true)); err != nil {
			return nil, err
		}
		body = []byte(text)
	case 'n':
		body = nil
	}
	if _, err := url.ParseRequestURI(v.URL); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, v.Method, v.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.RequestURI = r.URL.RequestURI()
	for name, values := range v.Headers {
		for _, value := range values {
			r.Header.Add(name, value)
		}
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	for name, value := range v.Params {
		r.SetPathValue(name, value)
	}
	return r, nil
}

// recorder is the http.ResponseWriter of serveHTTP.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// response returns the answer in the words of the output binding. The binding has one
// value for each header; several of a header are joined, as HTTP allows for all but
// Set-Cookie (RFC 9110, section 5.3). The error says that the host could not read it.
func (r *recorder) response() (*response, error) {
	r.WriteHeader(http.StatusOK)
	v := response{StatusCode: r.status, Headers: map[string]string{}, Body: r.body.String()}
	if err := legible(v.Body); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if r.header.Get("Content-Type") == "" && r.body.Len() > 0 {
		r.header.Set("Content-Type", http.DetectContentType(r.body.Bytes()))
	}
	for name, values := range r.header {
		v.Headers[name] = strings.Join(values, ", ")
		if err := legible(v.Headers[name]); err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
	}
	return &v, nil
}

// legible returns an error if the Functions host cannot read text in an answer. Its reader
// is Json.NET (Azure/azure-functions-host,
// DefaultHttpWorkerService.GetHttpScriptInvocationResult), which takes some texts for times
// and ends at one that it cannot keep (JamesNK/Newtonsoft.Json, DateTimeUtils): one in
// milliseconds, of any size, or the midnight after the last day of .NET's calendar. The
// invocation has failed then, and so has each retry.
func legible(text string) error {
	if strings.HasPrefix(text, "/Date(") && strings.HasSuffix(text, ")/") || strings.HasPrefix(text, "9999-12-31T24:00:00") {
		return errors.New("a text that is taken for a time which may not exist")
	}
	return nil
}
