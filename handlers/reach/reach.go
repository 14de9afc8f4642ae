// Package reach says where a request of hubwatch may lead: to the address that a setting names,
// over TLS unless that is this machine, and nowhere else.
package reach

import (
	"net"
	"net/http"
	"strings"
)

// Loopback reports whether a host, without a port, is this machine: an address of it, or
// localhost, which no server of names may make another one (RFC 6761, section 6.3).
func Loopback(host string) bool {
	return net.ParseIP(host).IsLoopback() || strings.EqualFold(host, "localhost")
}

// Transport sends requests and follows no redirection, since that could lead to another machine:
// the answer is the one that redirects. It is for the clients of the Azure SDK, which take a
// policy.Transporter.
//
// It is no http.Client whose CheckRedirect stays. Before a client asks CheckRedirect, it calls
// GetBody, and that of the SDK rewinds the one body (SetBody in sdk/azcore/internal/exported),
// from which the transport may still be reading.
type Transport struct{ http.RoundTripper }

// Do sends a request.
func (t Transport) Do(request *http.Request) (*http.Response, error) { return t.RoundTrip(request) }

// Default sends requests as http.DefaultTransport does.
var Default = Transport{http.DefaultTransport}
