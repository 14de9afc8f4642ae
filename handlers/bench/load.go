package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sender is a connection of the Functions host to its handler.
type sender struct {
	c net.Conn
	r *bufio.Reader
	b []byte // the body of the last answer
}

func dial(port string) (*sender, error) {
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	return &sender{c: c, r: bufio.NewReader(c), b: make([]byte, 4096)}, nil
}

func (s *sender) close() { _ = s.c.Close() }

// wire returns r as the Functions host sends it.
func (r *request) wire() []byte {
	return fmt.Appendf(nil, "POST /%s HTTP/1.1\r\nHost: 127.0.0.1:7071\r\nX-Azure-Functions-HostVersion: 4.1045.200.25556\r\n"+
		"X-Azure-Functions-InvocationId: 6a5fcda4-583c-4d2a-a551-1160ad430a3e\r\nUser-Agent: Azure-Functions-Host/4.1045.200.25556\r\n"+
		"traceparent: 00-7ecf6bbcc0d32e3bf461cdb5791a2dee-50796fcafb121f62-00\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s",
		r.function, len(r.body), r.body)
}

// ask sends r and reads the answer. The error says what is wrong with it. It has to be
// constant, or what the label of r says if constant is nil.
func (s *sender) ask(r *request, constant []byte) error { return s.send(r, r.wire(), constant) }

func (s *sender) send(r *request, wire, constant []byte) error {
	if _, err := s.c.Write(wire); err != nil {
		return err
	}
	status, err := s.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("the answer is %q", status)
	}
	length := -1
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 || length > len(s.b) {
		return fmt.Errorf("an answer of %d bytes", length)
	}
	body := s.b[:length]
	if _, err := io.ReadFull(s.r, body); err != nil {
		return err
	}
	switch {
	case constant != nil:
		if !bytes.Equal(body, constant) {
			return fmt.Errorf("the answer to %s is %s, want %s", r.function, body, constant)
		}
	case r.title == "" && !bytes.Contains(body, []byte(`"Logs":[]`)), r.title != "" && !bytes.Contains(body, []byte(r.title)):
		return fmt.Errorf("the answer to %s is %s, want %q", r.function, body, r.title)
	}
	return nil
}

// firstAnswer asks r until somebody answers at the port.
func firstAnswer(port string, r *request, constant []byte, begin time.Time) error {
	for {
		if time.Since(begin) > 10*time.Second {
			return errors.New("no answer within 10 s")
		}
		s, err := dial(port)
		if err != nil {
			time.Sleep(200 * time.Microsecond)
			continue
		}
		defer s.close()
		return s.ask(r, constant)
	}
}

// flooding is senders that ask as fast as they are answered.
type flooding struct {
	done  atomic.Int64 // answers
	ended atomic.Bool
	group sync.WaitGroup
	errs  chan error
}

// flood has senders ask list over and over. Each answer is looked at, as ask does.
func flood(port string, list []request, senders int, constant []byte) (*flooding, error) {
	wires := make([][]byte, len(list))
	for i := range list {
		wires[i] = list[i].wire()
	}
	f := &flooding{errs: make(chan error, senders)}
	for n := range senders {
		s, err := dial(port)
		if err != nil {
			_, _ = f.stop()
			return nil, err
		}
		f.group.Go(func() {
			defer s.close()
			for i := n * len(list) / senders; !f.ended.Load(); i++ {
				k := i % len(list)
				if err := s.send(&list[k], wires[k], constant); err != nil {
					f.errs <- err
					return
				}
				f.done.Add(1)
			}
		})
	}
	return f, nil
}

// stop ends the flood, and returns how many answers there were, and the first error.
func (f *flooding) stop() (int64, error) {
	f.ended.Store(true)
	f.group.Wait()
	close(f.errs)
	return f.done.Load(), <-f.errs
}

// run has senders ask a peer for the time that each is, and returns how many requests a
// second it answered and how many microseconds of CPU each took.
func run(port, control string, list []request, senders int, each time.Duration, constant []byte) (rate, micros float64, err error) {
	f, err := flood(port, list, senders, constant)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(each / 10)
	before, err1 := ask(control)
	start, first := time.Now(), f.done.Load()
	time.Sleep(each)
	after, err2 := ask(control)
	took, n := time.Since(start), f.done.Load()-first
	_, err = f.stop()
	if err := errors.Join(err1, err2, err); err != nil {
		return 0, 0, err
	}
	return float64(n) / took.Seconds(), float64(after.Micros-before.Micros) / float64(n), nil
}
