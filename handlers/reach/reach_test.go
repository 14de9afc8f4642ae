package reach

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.1.2.3": true, "::1": true, "localhost": true, "LocalHost": true,
		"": false, "192.0.2.1": false, "127.0.0.1.contoso.com": false, "localhost.contoso.com": false, "[::1]": false, "127.0.0.1:80": false, "0.0.0.0": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

// TestTransportStays checks that a redirection is the answer, that nothing is asked elsewhere, and
// that the body is not rewound, while it may still be read.
func TestTransportStays(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("a body"))
	if err != nil {
		t.Fatal(err)
	}
	again := request.GetBody
	request.GetBody = func() (io.ReadCloser, error) {
		t.Error("the body is wanted again")
		return again()
	}
	response, err := Default.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusTemporaryRedirect || asked != 1 {
		t.Errorf("status %d after %d requests", response.StatusCode, asked)
	}
}
