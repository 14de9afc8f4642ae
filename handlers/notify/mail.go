package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"hubwatch/handlers/reach"
)

// mailer sends mail through a server that takes submissions. All recipients are of one
// transaction, in which the server may refuse some and take the message for the others.
type mailer struct {
	name    string
	console string
	host    string
	port    int
	tls     bool // from the first byte on (RFC 8314), and not after STARTTLS
	user    *url.Userinfo
	from    string
	to      []string // in the order of the setting
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
	return c, nil
}

// Send implements Channel. The Message-ID is the same each time, so that a message that came
// twice can be recognized. A recipient is named by its place in the setting, since an address
// is a part of it.
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
	message.SetBodyString(mail.TypeTextPlain, t.title+"\n\n"+t.plain()+"\n")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := c.client(ctx)
	if err != nil {
		return fmt.Errorf("%w: the setting of the mail server", ErrNever)
	}
	var taken []string
	var refused rejections
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err == nil {
		taken, refused, err = c.submit(session, message, m.Past)
	}
	switch {
	case err == nil && len(refused) == 0:
		return nil
	case err == nil:
		return &Partial{Told: taken, Err: refused.error(len(c.to))}
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, errNoLogin):
		return errNoLogin
	}
	return reason(err)
}

// submit sends a message to the recipients who are not among past, in one transaction. It
// returns the names of those for whom the server took the message, and who was refused.
func (c *mailer) submit(session *smtp.Client, message *mail.Msg, past map[string]bool) (taken []string, refused rejections, err error) {
	if err := session.Mail("<" + c.from + ">"); err != nil {
		return nil, nil, err
	}
	for i, address := range c.to {
		if past[recipient(address)] || slices.Contains(c.to[:i], address) {
			continue
		}
		err := session.Rcpt("<" + address + ">")
		var answer *textproto.Error
		switch {
		case err == nil:
			taken = append(taken, recipient(address))
		case errors.As(err, &answer):
			refused = append(refused, rejection{i + 1, answer.Code})
		default:
			return nil, nil, err
		}
	}
	if len(taken) > 0 {
		body, err := session.Data()
		if err == nil {
			_, err = message.WriteTo(body)
		}
		if err == nil { // Otherwise the end would send a half.
			err = body.Close()
		}
		if err != nil {
			return nil, nil, err
		}
	}
	_ = session.Quit() // What was said is said.
	return taken, refused, nil
}

// recipient names a recipient in rows, without the address.
func recipient(address string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(address)))[:16] }

// rejection says that a recipient was refused: the place in the setting, from 1 on, and the code
// of the answer.
type rejection struct{ place, code int }

type rejections []rejection

// error returns what is wrong with recipients of a number of them. It wraps ErrNever unless one
// may be tried again.
func (r rejections) error(of int) error {
	var said []string
	later := false
	for _, one := range r {
		s := fmt.Sprint(one.code)
		if of > 1 {
			s += fmt.Sprintf(" for the recipient %d of %d", one.place, of)
		}
		said = append(said, s)
		later = later || one.code < 500
	}
	answers := "the mail server answered " + strings.Join(said, ", ")
	if later {
		return errors.New(answers)
	}
	return fmt.Errorf("%w: %s", ErrNever, answers)
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
