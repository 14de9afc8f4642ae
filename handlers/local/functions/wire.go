package functions

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// idleLimit is how long .NET's HttpClient keeps an unused connection.
const idleLimit = time.Minute

// wire speaks HTTP/1.1 to one handler process. It exists because net/http sorts
// header fields, and the handler should see the order and the case that the
// Functions host sends. Connections are kept alive and their number is not
// limited, as with the host's HttpClient. Redirects are not followed.
type wire struct {
	address string // host:port

	mu   sync.Mutex
	idle []*wireConn
}

// wireConn is a connection with, while it is idle, one pending read that
// notices when the handler closes it.
type wireConn struct {
	net.Conn
	reader *bufio.Reader
	quiet  chan error
	parked time.Time
}

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends the bytes of one request and reads the response. There is not a time
// limit: the host does not cancel requests, it kills the process, and then the
// connection breaks.
func (w *wire) do(method string, request []byte) (answer, error) {
	conn, err := w.take()
	if err != nil {
		return answer{}, err
	}
	response, again, err := conn.exchange(method, request)
	if err != nil || !again {
		conn.Close()
		return response, err
	}
	w.park(conn)
	return response, nil
}

// exchange also reports whether the connection can be used again.
func (c *wireConn) exchange(method string, request []byte) (answer, bool, error) {
	if _, err := c.Write(request); err != nil {
		return answer{}, false, err
	}
	for {
		r, err := http.ReadResponse(c.reader, &http.Request{Method: method})
		if err != nil {
			return answer{}, false, err
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return answer{}, false, err
		}
		if r.StatusCode >= 200 {
			return answer{r.StatusCode, r.Header, body}, !r.Close, nil
		}
	}
}

// take returns an idle connection that is still open, or dials.
func (w *wire) take() (*wireConn, error) {
	for {
		w.mu.Lock()
		n := len(w.idle)
		if n == 0 {
			w.mu.Unlock()
			break
		}
		conn := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		if conn.wake() {
			return conn, nil
		}
		conn.Close()
	}
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: conn, reader: bufio.NewReader(conn)}, nil
}

func (w *wire) park(conn *wireConn) {
	conn.quiet = make(chan error, 1)
	conn.parked = time.Now()
	go func() {
		_, err := conn.reader.Peek(1)
		conn.quiet <- err
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle = append(w.idle, conn)
}

// wake ends the pending read of an idle connection and reports whether the
// connection was silent and open until now.
func (c *wireConn) wake() bool {
	c.SetReadDeadline(time.Unix(1, 0))
	err := <-c.quiet
	c.SetReadDeadline(time.Time{})
	return errors.Is(err, os.ErrDeadlineExceeded) && time.Since(c.parked) < idleLimit
}

// close closes the idle connections.
func (w *wire) close() {
	w.mu.Lock()
	idle := w.idle
	w.idle = nil
	w.mu.Unlock()
	for _, conn := range idle {
		conn.Close()
	}
}
