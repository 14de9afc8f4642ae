package loopback

import (
	"net"
	"strconv"
	"testing"
)

// TestFreePort says that a port can be listened on, and is none that a system gives to
// those who ask for any.
func TestFreePort(t *testing.T) {
	for range 100 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if port < 20_000 || port >= 32_000 {
			t.Fatalf("port %d", port)
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
	}
}
