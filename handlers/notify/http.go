package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	"hubwatch/handlers/reach"
)

// poster posts to one address. It follows no redirect, which could lead to another machine,
// and reads no more of an answer than it needs.
type poster struct {
	address *url.URL
	now     func() time.Time

	mu       sync.Mutex
	notUntil time.Time // the service has asked to be left alone until then
}

// transport is that of all posters. It is used without an http.Client, which follows redirects,
// and which gives no answer that redirects to what is not an address.
var transport = &http.Transport{
	Proxy:                  http.ProxyFromEnvironment,
	DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
	ForceAttemptHTTP2:      true,
	MaxIdleConns:           16,
	IdleConnTimeout:        time.Minute,
	TLSHandshakeTimeout:    5 * time.Second,
	ExpectContinueTimeout:  time.Second,
	MaxResponseHeaderBytes: 64 << 10,
	TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
}

const (
	// mostAnswer is how many bytes of an answer are read, so that the connection can be used
	// again.
	mostAnswer = 64 << 10
	// mostRetryAfter is the longest that a service is left alone because it asks for it.
	mostRetryAfter = 15 * time.Minute
)

// checkAddress returns an error unless u is one to which a message may be posted: https, or
// http on this machine.
func checkAddress(u *url.URL) error {
	switch {
	case u.Host == "" || u.Hostname() == "":
		return errors.New("want a URL with a host")
	case u.User != nil:
		return errors.New("want no user in the URL: the header Authorization is not sent")
	case u.Scheme == "https", u.Scheme == "http" && reach.Loopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("want https: http is for this machine alone")
	}
	return errors.New("want https")
}

// post posts a body. Its error says whether another try makes sense, and has no part of the
// address.
func (p *poster) post(ctx context.Context, contentType string, headers map[string]string, body []byte) error {
	p.mu.Lock()
	wait := p.notUntil.Sub(p.now())
	p.mu.Unlock()
	if wait > 0 {
		return fmt.Errorf("the service asked to wait: %d s are left", int(wait.Seconds())+1)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.address.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: not a URL to post to", ErrNever)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("User-Agent", "hubwatch")
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return reason(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, mostAnswer)) // the status has said all
	err = answered(response.StatusCode)
	if err != nil && !errors.Is(err, ErrNever) {
		if pause := retryAfter(response.Header.Get("Retry-After"), p.now()); pause > 0 {
			p.mu.Lock()
			p.notUntil = p.now().Add(pause)
			p.mu.Unlock()
			return fmt.Errorf("%w, and asks to wait for %v", err, pause.Round(time.Second))
		}
	}
	return err
}

// answered returns what a status means. A client error stays one however often it is tried,
// apart from a timeout (408), too early (425) and too many requests (429). A redirect means
// that the address in the setting is not the right one.
func answered(status int) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		return fmt.Errorf("answered HTTP %d", status)
	case status == http.StatusGone:
		return fmt.Errorf("%w: answered HTTP 410: nobody listens there any more", ErrNever)
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: answered HTTP %d: the address leads elsewhere, which is not followed", ErrNever, status)
	}
	return fmt.Errorf("%w: answered HTTP %d", ErrNever, status)
}

// retryAfter returns how long a service asks to wait, in seconds or as a date
// (RFC 9110, section 10.2.3); 0 if it does not say so.
func retryAfter(header string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), mostRetryAfter)
}

// errNoHost says that there is no such host. That may pass, for a while.
var errNoHost = errors.New("the name of the host is not known")

// reason returns why something could not be sent, in words that are ours: the texts of
// errors of libraries repeat addresses, and these have credentials.
func reason(err error) error {
	var dns *net.DNSError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var smtp *textproto.Error
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no answer in time")
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.As(err, &dns) && dns.IsNotFound:
		return errNoHost
	case errors.As(err, &dns):
		return errors.New("the name of the host could not be looked up")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("the connection was refused")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed before an answer")
	case errors.As(err, &invalid), errors.As(err, &host), errors.As(err, &authority), errors.As(err, &record):
		return errors.New("TLS: the certificate of the host cannot be trusted")
	case errors.As(err, &smtp):
		if smtp.Code >= 500 {
			return fmt.Errorf("%w: the mail server answered %d", ErrNever, smtp.Code)
		}
		return fmt.Errorf("the mail server answered %d", smtp.Code)
	}
	return errors.New("the service could not be reached")
}
