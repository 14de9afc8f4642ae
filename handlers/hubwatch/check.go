package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/secret"
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
			wrong := o.checkSettings(out, width(out))
			if connect && wrong == 0 {
				a, err := o.open()
				if err != nil {
					return err
				}
				wrong += checkRead(out, "table of alerts", a.Alerts.List(command.Context(), alert.Query{}))
				wrong += checkRead(out, "table of the quarantine", a.Quarantine.List(command.Context(), ""))
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

// checkSettings writes what there is to say of each setting, in lines of at most
// width characters, and returns how many are wrong.
func (o *operator) checkSettings(w io.Writer, width int) int {
	c, err := o.config()
	faults := faultsOf(errors.Join(err, c.Missing()))
	const indent = "         "
	for _, s := range app.Settings {
		value, verdict, from := o.getenv(s.Name), "ok", ""
		switch {
		case s.HostOnly:
			verdict, from = "host", "read by the Functions host, and not by hubwatch"
		case o.account != "" && strings.HasPrefix(s.Name, storageSetting):
			verdict, from = "unused", "--account is used instead"
		case value != "":
			if s.Name == storageSetting {
				value = openly(value)
			}
			from = "from the environment: " + secret.RedactString(value)
		case s.Default != "":
			verdict, from = "default", "not set, and so "+s.Default
		default:
			verdict, from = "unset", "not set"
		}
		if len(faults[s.Name]) > 0 {
			verdict = "wrong"
		}
		lines := append([]string{s.Meaning, from}, faults[s.Name]...)
		if verdict == "wrong" || verdict == "unset" {
			lines = append(lines, fmt.Sprintf("for example %s=%s", s.Name, s.Example))
		}
		fmt.Fprintf(w, "%-8s %s\n", verdict, s.Name)
		for _, line := range lines {
			fmt.Fprintln(w, indent+wrap(printable(strings.ReplaceAll(line, "`", "")), width, indent))
		}
	}
	for _, line := range faults[""] {
		fmt.Fprintf(w, "wrong    %s\n", wrap(printable(line), width, indent))
	}
	n := len(faults) + max(0, len(faults[""])-1) // of the unknown ones, each is one
	fmt.Fprintf(w, "\n%s, %d wrong\n", plural(len(app.Settings), "setting"), n)
	return n
}

// storageSetting is the setting with the connection string. The names of the other
// settings about the storage account begin with it.
const storageSetting = "AlertsStorage"

// openly returns a connection string with those parts alone that are known not to be
// secret. A key that somebody took for a connection string does not show either.
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

// fault is the form of the errors of app.Open, which name settings.
var fault = regexp.MustCompile(`(?s)^settings? (\w+)(?: and (\w+))?: (.*)$`)

// faultsOf returns what is wrong with which setting, without an example. What an
// error without the name of one of app.Settings says, which may name a setting that
// hubwatch does not know, is wrong with "".
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
		if m == nil || !slices.ContainsFunc(app.Settings, func(s app.Setting) bool { return s.Name == m[1] }) {
			m = []string{"", "", "", err.Error()}
		}
		m[3], _, _ = strings.Cut(m[3], "; for example ")
		faults[m[1]] = append(faults[m[1]], m[3])
		if m[2] != "" {
			faults[m[2]] = append(faults[m[2]], m[3])
		}
	}
	if err != nil {
		add(err)
	}
	return faults
}

// checkRead reads a row and writes what came of that. It returns 1 if it is wrong.
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
