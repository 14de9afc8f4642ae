// Package loopback finds ports of 127.0.0.1 for servers that are other processes and
// have to be told theirs.
package loopback

import (
	mathrand "math/rand/v2"
	"net"
	"strconv"
)

// FreePort returns a TCP port of 127.0.0.1 that nothing listens on. Nobody keeps it until the
// server listens, so it is below the ports that systems give to those who ask for any: from
// 32768 on in Linux (ip_local_port_range,
// https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html), from 49152 on elsewhere (RFC 6335).
// Else a connection or another server could get it meanwhile, and another server would
// answer in place of the one that is meant. It returns the error of the last of a hundred
// ports if it can listen on none.
func FreePort() (int, error) {
	var listener net.Listener
	var err error
	for range 100 {
		port := 20_000 + mathrand.IntN(12_000) // #nosec G404 -- not a secret
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, err
}
