package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"hubwatch/handlers/reach"
)

// mailer sends mail through a server that takes submissions. All recipients are of one
// transaction: either the server takes the message for all of them, or for none.
type mailer struct {
	name    string
	console string
	host    string
	port    int
	tls     bool // from the first byte on (RFC 8314), and not after STARTTLS
	user    *url.Userinfo
	from    string
	to      []string
}

// Name implements Channel.
func (c *mailer) Name() string { return c.name }

// parseMail reads smtp[s]://user:password@host:port?from=address&to=address,address. smtp
// asks for STARTTLS, except on this machine.
func parseMail(u *url.URL) (*mailer, error) {
	c := &mailer{host: u.Hostname(), port: 587, tls: u.Scheme == "smtps", user: u.User}
	if c.tls {
		c.port = 465
	}
	if c.host == "" {
		return nil, errors.New("want a mail server: " + u.Scheme + "://host")
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, errors.New("want a port from 1 to 65535")
		}
		c.port = int(n)
	}
	query, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B")) // which addresses may have
	if err != nil {
		return nil, errors.New("what is after the question mark cannot be read")
	}
	for key, values := range query {
		if key != "from" && key != "to" {
			return nil, errors.New("after the question mark want from and to alone")
		}
		for address := range strings.SplitSeq(strings.Join(values, ","), ",") {
			parsed, err := netmail.ParseAddress(strings.TrimSpace(address))
			if err != nil {
				return nil, fmt.Errorf("%s: want mail addresses", key)
			}
			if key == "to" {
				c.to = append(c.to, parsed.Address)
			} else {
				c.from = parsed.Address
			}
		}
	}
	if c.from == "" || len(c.to) == 0 || len(query["from"]) != 1 || strings.Contains(query.Get("from"), ",") {
		return nil, errors.New("want ?from=address&to=address")
	}
	slices.Sort(c.to)
	c.to = slices.Compact(c.to)
	return c, nil
}

// Send implements Channel. The Message-ID is the same each time, so that a message that came
// twice can be recognized.
func (c *mailer) Send(ctx context.Context, m Message) error {
	t := compose(m, c.console)
	message := mail.NewMsg()
	if message.From(c.from) != nil || message.To(c.to...) != nil {
		return fmt.Errorf("%w: an address is not one", ErrNever)
	}
	message.Subject(t.title)
	message.SetDateWithValue(m.Time)
	message.SetMessageIDWithValue(fmt.Sprintf("%x@hubwatch", sha256.Sum256([]byte(m.ID))))
	message.SetGenHeader("Auto-Submitted", "auto-generated") // no answers of those who are away (RFC 3834)
	message.SetBodyString(mail.TypeTextPlain, t.title+"\n\n"+t.plain(nil)+"\n")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := c.client(ctx)
	if err != nil {
		return fmt.Errorf("%w: the setting of the mail server", ErrNever)
	}
	err = client.DialAndSendWithContext(ctx, message)
	if err == nil || message.IsDelivered() { // What fails afterwards is the farewell.
		return nil
	}
	var refused *mail.SendError
	if errors.As(err, &refused) && refused.ErrorCode() >= 500 {
		return fmt.Errorf("%w: the mail server answered %d", ErrNever, refused.ErrorCode())
	} else if ok := errors.As(err, &refused); ok && refused.ErrorCode() >= 400 {
		return fmt.Errorf("the mail server answered %d", refused.ErrorCode())
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if errors.Is(err, errNoLogin) {
		return errNoLogin
	}
	return reason(err)
}

// client returns a client for one message. Its connection ends with ctx: go-mail v0.7.2 waits
// for the greeting of the server without a deadline, and does not close a connection whose
// greeting is wrong.
func (c *mailer) client(ctx context.Context) (*mail.Client, error) {
	connect := (&net.Dialer{}).DialContext
	policy := mail.TLSMandatory
	if reach.Loopback(c.host) {
		policy = mail.NoTLS
	}
	options := []mail.Option{mail.WithPort(c.port), mail.WithHELO("hubwatch"), mail.WithTLSPolicy(policy), mail.WithoutNoop()}
	if c.tls {
		connect = (&tls.Dialer{Config: &tls.Config{ServerName: c.host, MinVersion: tls.VersionTLS12}}).DialContext
		options = append(options, mail.WithSSL())
	}
	options = append(options, mail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := connect(dialing, network, address)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}))
	if password, ok := c.user.Password(); ok {
		options = append(options, mail.WithSMTPAuthCustom(&login{user: c.user.Username(), password: password, host: c.host}))
	}
	return mail.NewClient(c.host, options...)
}

// login says who we are in the first way that the server knows. PLAIN and LOGIN send the
// password, and go-mail refuses both without TLS, except on this machine.
type login struct {
	user, password, host string
	way                  smtp.Auth
}

// Start implements smtp.Auth.
func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	switch {
	case slices.Contains(server.Auth, "PLAIN"):
		l.way = smtp.PlainAuth("", l.user, l.password, l.host, false)
	case slices.Contains(server.Auth, "LOGIN"):
		l.way = smtp.LoginAuth(l.user, l.password, l.host, false)
	case slices.Contains(server.Auth, "CRAM-MD5"):
		l.way = smtp.CRAMMD5Auth(l.user, l.password)
	default:
		return "", nil, errNoLogin
	}
	return l.way.Start(server)
}

// Next implements smtp.Auth.
func (l *login) Next(fromServer []byte, more bool) ([]byte, error) {
	return l.way.Next(fromServer, more)
}

// errNoLogin says that the server knows none of the ways of login.
var errNoLogin = errors.New("the mail server knows none of PLAIN, LOGIN and CRAM-MD5")
