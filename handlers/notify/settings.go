package notify

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"hubwatch/handlers/alert"
)

// Names of the settings.
const (
	// SettingUrls has the URLs of channels, with white space between them.
	SettingUrls = "NotifyUrls"
	// SettingPrefix and the name of a channel are the name of a setting with its URL.
	SettingPrefix = "Notify__"
)

// mostChannels is how many channels there may be: each message goes to all of them at once.
const mostChannels = 20

// nameForm is the form of the name of a channel, which has at most longestName characters.
var nameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

const longestName = 40

// unresolved is what the value of a setting begins with if the platform could not read the
// secret that it refers to
// (https://learn.microsoft.com/azure/app-service/app-service-key-vault-references).
const unresolved = "@Microsoft.KeyVault("

// Read returns the channels that settings want, in the order of their names. values are the
// settings by name; those that are not about channels are passed over. console is the address
// of the console, or "". The error says all that is wrong, each in a line that names the
// setting and has nothing of its value. The channels that are right are returned with it.
//
// What stands after # in a URL is for hubwatch, in the form key=value&key=value, and is never
// sent: severity is the least severity that the channel is told of, name its name, secret the
// key of a webhook, key that of a service.
func Read(values map[string]string, console string) ([]Configured, error) {
	var channels []Configured
	var errs []error
	taken := map[string]bool{}
	add := func(setting, called, value string) {
		c, err := parse(value, console)
		if err == nil && called != "" {
			if c.called != "" && c.called != called {
				err = errors.New("has a name already: leave out name= after the #")
			}
			c.called = called
		}
		if err == nil && c.called == "" {
			for n := 1; c.called == "" || taken[strings.ToLower(c.called)]; n++ {
				if c.called = c.kind; n > 1 {
					c.called = fmt.Sprintf("%s-%d", c.kind, n)
				}
			}
		}
		if err == nil && (len(c.called) > longestName || !nameForm.MatchString(c.called)) {
			err = errors.New("want a name of 1 to 40 letters, digits, hyphens and underscores that begins with a letter")
		}
		if err == nil && taken[strings.ToLower(c.called)] {
			err = fmt.Errorf("there are two channels %s", c.called)
		}
		if err == nil && len(channels) == mostChannels {
			err = fmt.Errorf("more than %d channels", mostChannels)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("setting %s: %w", setting, err))
			return
		}
		taken[strings.ToLower(c.called)] = true
		channels = append(channels, Configured{c.build(c.called), setting, c.least})
	}
	for _, setting := range slices.Sorted(maps.Keys(values)) {
		value := strings.TrimSpace(values[setting])
		called, named := strings.CutPrefix(setting, SettingPrefix)
		switch {
		case value == "":
		case strings.HasPrefix(value, unresolved) && (named || setting == SettingUrls):
			errs = append(errs, fmt.Errorf("setting %s: its reference to the Key Vault was not resolved: the identity of the app needs the role Key Vault Secrets User, and the secret has to exist", setting))
		case named:
			if len(strings.Fields(value)) > 1 {
				errs = append(errs, fmt.Errorf("setting %s: want one URL, have several: say %s", setting, SettingUrls))
				continue
			}
			add(setting, called, value)
		case setting == SettingUrls:
			for i, u := range strings.Fields(value) {
				setting := setting
				if i > 0 || len(strings.Fields(value)) > 1 {
					setting = fmt.Sprintf("%s, URL %d", SettingUrls, i+1)
				}
				add(setting, "", u)
			}
		}
	}
	slices.SortStableFunc(channels, func(a, b Configured) int { return cmp.Compare(a.Name(), b.Name()) })
	return channels, errors.Join(errs...)
}

// parsed is what a URL says.
type parsed struct {
	kind   string // webhook, mail, or what stands before the +
	called string // its name, if the URL says one
	least  alert.Severity
	build  func(called string) Channel
}

// parse reads the URL of a channel. Its error has nothing of the URL.
func parse(value, console string) (parsed, error) {
	value, fragment, _ := strings.Cut(value, "#")
	options, err := parseOptions(fragment)
	if err != nil {
		return parsed{}, err
	}
	u, err := url.Parse(value)
	if err != nil {
		return parsed{}, errors.New("is not a URL") // the error of url.Parse repeats it
	}
	p := parsed{called: options["name"], least: alert.Low}
	if s, ok := options["severity"]; ok {
		i := slices.IndexFunc(severities, func(a alert.Severity) bool { return strings.EqualFold(string(a), s) })
		if i < 0 {
			return parsed{}, errors.New("severity: want High, Medium, Low or Informational")
		}
		p.least = severities[i]
	}
	kind, scheme, ok := strings.Cut(u.Scheme, "+")
	switch {
	case ok:
		u.Scheme, p.kind = scheme, kind
		return p, p.posting(u, options, console)
	case u.Scheme == "smtp" || u.Scheme == "smtps":
		p.kind = "mail"
		c, err := parseMail(u)
		if err != nil {
			return parsed{}, err
		}
		p.build = func(called string) Channel { c.name, c.console = called, console; return c }
		return p, unwanted(options)
	case u.Scheme == "http" || u.Scheme == "https":
		p.kind = "webhook"
		return p, p.webhook(u, options, console)
	}
	return parsed{}, fmt.Errorf("want a URL that begins with https, smtp, smtps, or one of %s, each with +https", strings.Join(slices.Sorted(maps.Keys(services)), ", "))
}

var severities = []alert.Severity{alert.High, alert.Medium, alert.Low, alert.Informational}

// parseOptions reads what stands after the # of a URL. A plus sign is one: secrets have it.
func parseOptions(fragment string) (map[string]string, error) {
	options := map[string]string{}
	for option := range strings.SplitSeq(fragment, "&") {
		if option == "" {
			continue
		}
		key, value, _ := strings.Cut(option, "=")
		value, err := url.PathUnescape(value)
		if err != nil || !slices.Contains([]string{"severity", "name", "secret", "key"}, key) {
			return nil, errors.New("after the # want severity=, name=, secret= or key=, with & between them")
		}
		if _, twice := options[key]; twice {
			return nil, fmt.Errorf("after the # %s= stands twice", key)
		}
		options[key] = value
	}
	return options, nil
}

// unwanted returns an error if there are options that a channel does not have.
func unwanted(options map[string]string, wanted ...string) error {
	for _, key := range []string{"secret", "key"} {
		if _, ok := options[key]; ok && !slices.Contains(wanted, key) {
			return fmt.Errorf("this channel has no %s=", key)
		}
	}
	return nil
}

// webhook is about a webhook that is signed.
func (p *parsed) webhook(u *url.URL, options map[string]string, console string) error {
	if err := checkAddress(u); err != nil {
		return err
	}
	for host, kind := range map[string]string{"hooks.slack.com": "slack", "discord.com": "discord", "chat.googleapis.com": "googlechat"} {
		if u.Hostname() == host {
			return fmt.Errorf("is the address of a service: put %s+ before it", kind)
		}
	}
	keys, err := parseSecrets(options["secret"])
	if err != nil {
		return fmt.Errorf("after the #, secret=: %w", err)
	}
	p.build = func(called string) Channel { return &webhook{called, newPoster(u), keys, console} }
	return unwanted(options, "secret")
}

// posting is about a service that is posted to.
func (p *parsed) posting(u *url.URL, options map[string]string, console string) error {
	s, ok := services[p.kind]
	if !ok {
		return fmt.Errorf("what stands before the + is not known: want one of %s", strings.Join(slices.Sorted(maps.Keys(services)), ", "))
	}
	if err := checkAddress(u); err != nil {
		return err
	}
	if s.check != nil {
		if err := s.check(u); err != nil {
			return err
		}
	}
	if s.key && options["key"] == "" {
		return errors.New("want key= after the #: the key that the service gave")
	}
	address := *u
	if p.kind == "ntfy" { // It takes documents at its root.
		address.Path, address.RawPath = "/", ""
	}
	p.build = func(called string) Channel {
		return &posting{called, newPoster(&address), u, console, options["key"], s.format}
	}
	if s.key || p.kind == "ntfy" {
		return unwanted(options, "key")
	}
	return unwanted(options)
}

// newPoster returns what posts to u.
func newPoster(u *url.URL) *poster { return &poster{address: u, now: time.Now} }
