package notify

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// request is what a receiver got.
type request struct {
	path   string
	header http.Header
	body   string
}

// receiver is a service on this machine that takes messages.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []request
	answer func(n int, w http.ResponseWriter, r *http.Request) // to request n, from 0 on; nil for 200
	ended  chan struct{}
}

func newReceiver(t testing.TB, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	r := &receiver{answer: answer, ended: make(chan struct{})}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(io.LimitReader(q.Body, 1<<20))
		if err != nil {
			return
		}
		r.mu.Lock()
		n := len(r.got)
		r.got = append(r.got, request{q.URL.Path, q.Header, string(body)})
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(n, w, q)
		}
	}))
	t.Cleanup(func() {
		close(r.ended)
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.got...)
}

// status answers every request with a status.
func status(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// reset ends the connection without an answer, as a reset.
func reset(_ int, w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}

// testSecret is a key of Standard Webhooks, and testKey what it is the code of.
var (
	testKey    = []byte("0123456789abcdefghijklmn")
	testSecret = secretPrefix + base64.StdEncoding.EncodeToString(testKey)
)

// channel returns the channel of a URL.
func channel(t testing.TB, url string) Channel {
	t.Helper()
	channels, err := Read(map[string]string{SettingPrefix + "ops": url}, "")
	if err != nil {
		t.Fatal(err)
	}
	return channels[0].Channel
}

// raised returns a raising of an alert with a number.
func raised(n int) Message {
	at := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	id := fmt.Sprintf("00000000-0000-0000-0000-%012x", n)
	return Message{ID: id + "/0", Kind: Raised, Time: at, Alert: export.Alert{
		SystemAlertID: id, AlertType: "IoT_CertificateSuccessfullyAddedToHub", AlertDisplayName: "A certificate was added", Severity: alert.Medium,
		Description: "ops@contoso.com added the certificate contoso-root to contoso-hub.", RemediationSteps: []string{"Ask ops@contoso.com whether it was planned."},
		CompromisedEntity: "contoso-root", EntityType: alert.Certificate, HubName: "contoso-hub", Actor: "ops@contoso.com", ActorIPAddress: "192.0.2.7",
		StartTime: at, EndTime: at, Reference: "contoso-hub/2026-02-01/" + id, Status: alert.Active,
	}}
}

// sink is a mail server on this machine.
type sink struct {
	address string
	mu      sync.Mutex
	mails   []mailed
	// answer says what the server answers to a command, by its verb; "" for what is usual.
	// "hang" is no answer, and "close" the end of the connection.
	answer func(verb, line string) string
	ended  chan struct{}
}

// mailed is a message that a sink took.
type mailed struct {
	from string
	to   []string
	text string
	user string
}

func newSink(t testing.TB, answer func(verb, line string) string) *sink {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{address: listener.Addr().String(), answer: answer, ended: make(chan struct{})}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(t.Context(), func() { _ = conn.Close() })
				defer stop()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				s.serve(textproto.NewConn(conn))
			})
		}
	})
	t.Cleanup(func() {
		close(s.ended)
		_ = listener.Close()
		group.Wait()
	})
	return s
}

// serve speaks SMTP (RFC 5321) as far as a submission needs it.
func (s *sink) serve(c *textproto.Conn) {
	var m mailed
	said := ""
	say := func(verb, line, usual string) bool {
		text := ""
		if s.answer != nil {
			text = s.answer(verb, line)
		}
		switch text {
		case "hang":
			<-s.ended
			return false
		case "close":
			return false
		case "":
			text = usual
		}
		said = text
		return c.PrintfLine("%s", text) == nil
	}
	if !say("", "", "220 contoso.com") {
		return
	}
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		usual := "250 ok"
		switch verb = strings.ToUpper(verb); verb {
		case "EHLO":
			usual = "250-contoso.com\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME"
		case "AUTH":
			code, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			m.user, usual = strings.ReplaceAll(string(code), "\x00", " "), "235 ok"
		case "MAIL":
			m.from = rest
		case "DATA":
			if !say(verb, line, "354 go on") {
				return
			}
			text, err := io.ReadAll(bufio.NewReader(c.DotReader()))
			if err != nil {
				return
			}
			m.text = string(text)
			s.mu.Lock()
			s.mails = append(s.mails, m)
			s.mu.Unlock()
			m = mailed{}
			verb = "."
		case "RSET":
			m = mailed{}
		case "QUIT":
			say(verb, line, "221 bye")
			return
		}
		if !say(verb, line, usual) {
			return
		}
		if verb == "RCPT" && said[0] == '2' {
			m.to = append(m.to, rest)
		}
	}
}

func (s *sink) got() []mailed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]mailed(nil), s.mails...)
}
