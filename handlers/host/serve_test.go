package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/host"
	"hubwatch/handlers/local/loopback"
)

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// serving is a host.Serve that runs.
type serving struct {
	port string
	stop context.CancelCauseFunc
	done chan error // what host.Serve returned
}

// serve starts host.Serve and waits until it answers.
func serve(t *testing.T, handler http.Handler) serving {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	s := serving{freePort(t), stop, make(chan error, 1)}
	go func() { s.done <- host.Serve(ctx, s.port, handler) }()
	t.Cleanup(func() { stop(nil) })
	eventually(t, "an answer to GET /", func() bool {
		select {
		case err := <-s.done:
			t.Fatalf("Serve: %v", err)
		default:
		}
		return answers(s.port)
	})
	return s
}

// answers reports whether a handler answers the host's question on port.
func answers(port string) bool {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://127.0.0.1:" + port + "/")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// wait returns what host.Serve returned.
func (s serving) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.done:
		return err
	case <-time.After(patience):
		t.Fatalf("Serve does not return within %v", patience)
		return nil
	}
}

// running starts an invocation of which half the body is there, and returns once
// the handler has asked for it, with a function that sends the rest and returns
// the answer.
func running(t *testing.T, port string) (finish func() reply) {
	t.Helper()
	connection, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	body := envelope(added)
	fmt.Fprintf(connection, "POST /CertificateAdded HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", port, len(body))
	answer := bufio.NewReader(connection)
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("the handler does not ask for the body: %q, %v", line, err)
	}
	if _, err := answer.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return func() reply {
		t.Helper()
		if _, err := io.WriteString(connection, body); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return checkAnswer(t, response)
	}
}

// TestServeListensHereOnly tries every other address of this machine.
func TestServeListensHereOnly(t *testing.T) {
	s := serve(t, newRig(t, &fakeStore{}, host.Limits{}))
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	others := []string{"127.0.0.2", "::1"}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && !network.IP.IsLoopback() && !network.IP.IsLinkLocalUnicast() {
			others = append(others, network.IP.String())
		}
	}
	for _, address := range others {
		connection, err := net.DialTimeout("tcp", net.JoinHostPort(address, s.port), time.Second)
		if err == nil {
			connection.Close()
			t.Errorf("there is an answer on %s, want one on 127.0.0.1 only: the host does not authenticate itself, so everybody could call", address)
		}
	}
	t.Logf("tried %v", others)
}

func TestServePort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ port, want string }{
		"in use":    {port, "address already in use"},
		"no port":   {"no-such-port", "listen: "},
		"too large": {"65536", "invalid port"},
		"negative":  {"-1", "invalid port"},
		"two":       {"1:2", "listen: "},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- host.Serve(ctx, test.port, http.NotFoundHandler()) }()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "listen: ") {
					t.Errorf("error %v, want one with %q", err, test.want)
				}
			case <-time.After(patience):
				t.Errorf("Serve listens on %q", test.port)
			}
		})
	}
}

// TestServeDrains checks that an invocation that runs when it ends is answered, and
// that no other is begun.
func TestServeDrains(t *testing.T) {
	r := newRig(t, &fakeStore{}, host.Limits{})
	s := serve(t, r)
	finish := running(t, s.port)
	gone := errors.New("told to stop")
	s.stop(gone)
	eventually(t, "nobody listens", func() bool { return !answers(s.port) })
	select {
	case err := <-s.done:
		t.Fatalf("Serve returns %v while an invocation runs", err)
	default:
	}
	if got := finish(); got.status != 200 || len(r.store.put) != 1 {
		t.Errorf("status %d with the error %q, %d alerts: want one", got.status, got.err, len(r.store.put))
	}
	if err := s.wait(t); !errors.Is(err, gone) || strings.Contains(err.Error(), "running") {
		t.Errorf("Serve returns %v, want the reason alone", err)
	}
}

// TestServeDoesNotDrainForEver checks that an endless invocation does not keep
// the process running, and that the log says what was lost.
func TestServeDoesNotDrainForEver(t *testing.T) {
	t.Parallel() // it takes all of drainTimeout
	s := serve(t, newRig(t, &fakeStore{}, host.Limits{}))
	_ = running(t, s.port)
	gone := errors.New("told to stop")
	s.stop(gone)
	err := s.wait(t)
	if !errors.Is(err, gone) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "invocations that were running") {
		t.Errorf("Serve returns %v, want that invocations were running", err)
	}
}

// TestServeBoundsHeaders checks that a header of any length does not take memory.
func TestServeBoundsHeaders(t *testing.T) {
	s := serve(t, newRig(t, &fakeStore{}, host.Limits{}))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+s.port+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d for a header of 64 KiB, want %d", response.StatusCode, http.StatusRequestHeaderFieldsTooLarge)
	}
}
