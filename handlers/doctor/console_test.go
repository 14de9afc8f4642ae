package doctor

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestVisit checks that a stranger is seen to be sent away, wherever to: whoever follows
// would see the page to sign in, with the status 200.
func TestVisit(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("a stranger has the headers %v", r.Header)
		}
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/here", http.StatusFound)
		}
	}))
	defer server.Close()
	for path, want := range map[string]int{"/away": http.StatusFound, "/here": http.StatusOK} {
		if status, err := visit(t.Context(), server.URL+path); err != nil || status != want {
			t.Errorf("%s: %d, %v; want %d", path, status, err, want)
		}
	}
	server.Close()
	if status, err := visit(t.Context(), server.URL); err == nil {
		t.Errorf("a server that is gone answers %d", status)
	}
}
