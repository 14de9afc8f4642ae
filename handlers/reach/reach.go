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

// Stay is what http.Client.CheckRedirect is set to. A redirection is not followed, since it could
// lead to another machine: the answer is the one that redirects.
func Stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Client sends requests as http.DefaultClient does, and follows no redirection.
var Client = &http.Client{CheckRedirect: Stay}
