package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/table"
)

// newCheck returns the verb that explains the settings.
func newCheck(o *operator) *cobra.Command {
	var connect bool
	command := &cobra.Command{
		Use:   "check",
		Short: "Explain the settings, and say which are wrong",
		Long: `check reads the settings of the app, which are environment variables, and
says of each what it means, where its value comes from, and whether it is
wrong. It shows no keys, and ends with 1 if a setting is wrong.`,
		Example: `  hubwatch check
  hubwatch check --connect --account contosostorage`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			out := command.OutOrStdout()
			if _, err := o.settings(); err != nil {
				return err
			}
			wrong := o.checkSettings(out, width(out))
			if connect && wrong == 0 {
				a, err := o.open()
				if err != nil {
					return err
				}
				wrong += checkRead(out, "table of alerts", a.Alerts.List(command.Context(), alert.Query{}))
				wrong += checkRead(out, "table of the quarantine", a.Quarantine.List(command.Context(), table.QuarantineQuery{}))
				wrong += checkSuppressions(command.Context(), out, a.Suppressions)
			}
			if wrong > 0 {
				return errSaid
			}
			return nil
		},
	}
	command.Flags().BoolVar(&connect, "connect", false, "also read a row of each table")
	return command
}

// checkSettings writes the state of each setting, in lines of at most width
// characters, and returns how many are wrong.
func (o *operator) checkSettings(w io.Writer, width int) int {
	c, err := o.config()
	if o.account == "" && !o.local {
		err = errors.Join(err, c.Stateless())
	}
	err = errors.Join(err, c.Notify.Faults)
	faults := faultsOf(err)
	getenv, _ := o.settings()
	source := "the environment"
	if o.local {
		source = localFile
	}
	wrong := len(faults)
	say := func(verdict, name string, lines ...string) {
		const indent = "         "
		fmt.Fprintf(w, "%-8s %s\n", verdict, printable(name))
		for _, line := range lines {
			fmt.Fprintln(w, indent+wrap(printable(line), width, indent))
		}
	}
	for _, s := range app.Settings {
		value, verdict, from := strings.TrimSpace(getenv(s.Name)), "ok", ""
		switch {
		case s.HostOnly:
			verdict, from = "host", "read by the Functions host, and not by hubwatch"
		case o.account != "" && strings.HasPrefix(s.Name, storageSetting):
			verdict, from = "unused", "--account is used instead"
		case value != "" && s.Secret:
			from = "from " + source + ", and not shown"
		case value != "":
			if s.Name == storageSetting {
				value = openly(value)
			}
			from = "from " + source + ": " + secret.RedactString(value)
		case s.Default != "":
			verdict, from = "default", "not set, and so "+s.Default
		default:
			verdict, from = "unset", "not set"
		}
		if len(faults[s.Name]) > 0 {
			verdict = "wrong"
		}
		lines := append([]string{plainText(s.Meaning), from}, faults[s.Name]...)
		if verdict == "wrong" || verdict == "unset" {
			lines = append(lines, fmt.Sprintf("for example %s=%s", s.Name, s.Example))
		}
		say(verdict, s.Name, lines...)
		delete(faults, s.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		say("wrong", name, faults[name]...) // a name that looks like one of a setting
	}
	for _, ch := range c.Notify.Channels {
		say("channel", ch.Name(), fmt.Sprintf("from %s: told of alerts from %s on", ch.Setting, ch.Least))
	}
	fmt.Fprintf(w, "\n%s, %d wrong\n", plural(len(app.Settings), "setting"), wrong)
	return wrong
}

// pageLink is a link of a page, with its words and where it leads.
var pageLink = regexp.MustCompile(`\[([^\]]*)\]\(([^)]*)\)`)

// plainText returns a text of docs/design.md as it is read on a terminal: without the marks
// of code, and with the pages of links in place of links. A link inside of the page itself
// leaves its words.
func plainText(text string) string {
	text = pageLink.ReplaceAllStringFunc(text, func(link string) string {
		m := pageLink.FindStringSubmatch(link)
		switch page, _, _ := strings.Cut(m[2], "#"); page {
		case "":
			return m[1]
		case m[1]:
			return "docs/" + page
		default:
			return fmt.Sprintf("%s (docs/%s)", m[1], page)
		}
	})
	return strings.ReplaceAll(text, "`", "")
}

// openly returns only the parts of a connection string that are known not to be
// secret. A key that somebody took for a connection string is not shown either.
func openly(connectionString string) string {
	parts := strings.Split(connectionString, ";")
	for i, part := range parts {
		switch name, _, _ := strings.Cut(part, "="); strings.ToLower(strings.TrimSpace(name)) {
		case "", "usedevelopmentstorage", "defaultendpointsprotocol", "accountname", "endpointsuffix", "tableendpoint":
		case "accountkey", "sharedaccesssignature":
			parts[i] = name + "=REDACTED"
		default:
			parts[i] = "REDACTED"
		}
	}
	return strings.Join(parts, ";")
}

// fault is the form of the errors of settings: the setting, another one that it is about too, and
// which of several URLs, if there are these, and what is wrong. The example at the end, if there is
// one, is the example of the setting.
var fault = regexp.MustCompile(`(?s)^settings? ([\w:-]*\w)(?: and (\w+))?(?:: |, (URL \d+: ))(.*?)(?:; for example .*)?$`)

// faultsOf returns what is wrong, by the name of the setting.
func faultsOf(err error) map[string][]string {
	faults := map[string][]string{}
	var add func(error)
	add = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				add(err)
			}
			return
		}
		m := fault.FindStringSubmatch(err.Error())
		if m == nil {
			m = []string{"", "settings", "", "", err.Error()}
		}
		for _, name := range m[1:3] {
			if name != "" {
				faults[name] = append(faults[name], m[3]+m[4])
			}
		}
	}
	if err != nil {
		add(err)
	}
	return faults
}

// checkRead reads a row and writes the result. It returns 1 if reading fails, and
// 0 otherwise.
func checkRead[T any](w io.Writer, what string, rows iter.Seq2[T, error]) int {
	verdict, text := "ok", "it is there, and empty"
	for _, err := range rows {
		text = "a row was read"
		if err != nil {
			verdict, text = "wrong", err.Error()
		}
		break
	}
	fmt.Fprintf(w, "%-8s %s: %s\n", verdict, what, printable(text))
	if verdict == "wrong" {
		return 1
	}
	return 0
}

// checkSuppressions reads the suppressions and writes the result, a line for each row
// that is wrong. It returns how many lines are.
func checkSuppressions(ctx context.Context, w io.Writer, store alert.Suppressions) int {
	const what = "table of suppressions"
	all, wrong, err := store.List(ctx, time.Time{})
	if err != nil {
		wrong = append(wrong, err)
	}
	for _, err := range wrong {
		fmt.Fprintf(w, "%-8s %s: %s\n", "wrong", what, printable(err.Error()))
	}
	if len(wrong) == 0 {
		fmt.Fprintf(w, "%-8s %s: %s\n", "ok", what, plural(len(all), "suppression"))
	}
	return len(wrong)
}
