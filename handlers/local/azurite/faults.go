package azurite

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
)

// Fault is what happens to one request on its way to a service.
type Fault int

// The ways in which storage services and networks fail.
const (
	Pass       Fault = iota // nothing
	Drop                    // the connection breaks before the service sees the request
	Lose                    // the service does what was asked, and its answer is lost
	Hang                    // no answer until the client gives up
	Busy                    // 503 with Retry-After, as a throttling service answers
	Broken                  // 500 before the service sees the request
	LoseBroken              // the service does what was asked, and the answer is 500
)

// FaultyProxy stands between a client and a service and makes faults.
type FaultyProxy struct {
	*httptest.Server
	requests atomic.Int64
}

// StartFaultyProxy starts a proxy for the service at target, a URL of scheme
// http without a path. fault says what happens to each request; n counts them
// from 1. It may be called at the same time for several requests.
func StartFaultyProxy(target string, fault func(n int, r *http.Request) Fault) *FaultyProxy {
	p := &FaultyProxy{}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	forward := func(r *http.Request) (*http.Response, error) {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, target+r.URL.RequestURI(), r.Body)
		if err != nil {
			return nil, err
		}
		out.Header, out.ContentLength = r.Header.Clone(), r.ContentLength
		return transport.RoundTrip(out)
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch f := fault(int(p.requests.Add(1)), r); f {
		case Pass:
			response, err := forward(r)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer response.Body.Close()
			for name, values := range response.Header {
				w.Header()[name] = values
			}
			w.WriteHeader(response.StatusCode)
			io.Copy(w, response.Body)
		case Lose, LoseBroken:
			if response, err := forward(r); err == nil {
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
			if f == Lose {
				panic(http.ErrAbortHandler) // closes the connection
			}
			w.WriteHeader(http.StatusInternalServerError)
		case Hang:
			io.Copy(io.Discard, r.Body) // only then does the server see the client leave
			<-r.Context().Done()
		case Busy:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		case Broken:
			w.WriteHeader(http.StatusInternalServerError)
		case Drop:
			panic(http.ErrAbortHandler)
		}
	}))
	return p
}

// Requests returns how many requests have come so far.
func (p *FaultyProxy) Requests() int { return int(p.requests.Load()) }
