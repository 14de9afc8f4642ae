// Command hubwatch is the operator's command: it reads and closes alerts, shows the
// quarantine and judges it again, and checks a deployment. It is not deployed.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/table"
	"hubwatch/handlers/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	o := &operator{getenv: getenv, now: time.Now}
	out := &screen{Writer: stdout}
	root := newRoot(o, out)
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if out.err != nil && ctx.Err() == nil {
		complain(stderr, fmt.Errorf("output: %w", out.err))
		return exitFailed
	}
	var usage *usageError
	var code said
	switch {
	case err == nil:
		return 0
	case interrupted(ctx):
		fmt.Fprintln(stderr, "hubwatch: interrupted")
		return exitInterrupted
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		complain(stderr, err)
		fmt.Fprintf(stderr, "Usage: %s\n%s --help says more.\n", usage.command.UseLine(), usage.command.CommandPath())
	default:
		complain(stderr, o.advised(err))
	}
	return exitCode(err)
}

// complain writes an error. Each line begins with the name of the command.
func complain(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(w, "hubwatch:", printable(line))
	}
}

// usageError is a mistake in the command line.
type usageError struct {
	command *cobra.Command
	err     error
}

// Error implements error.
func (e *usageError) Error() string {
	_, verb, ok := strings.Cut(e.command.CommandPath(), " ")
	if !ok {
		return e.err.Error()
	}
	return verb + ": " + e.err.Error()
}

// Unwrap returns what is wrong.
func (e *usageError) Unwrap() error { return e.err }

// operator is what the verbs have in common.
type operator struct {
	getenv  func(string) string
	now     func() time.Time
	account string // the flag --account
	local   bool   // the flag --local
	plain   bool   // the flag --no-color
}

// storageSetting is the setting with the connection string. The names of the other
// settings about the storage account begin with it.
const storageSetting = "AlertsStorage"

// settings returns where the settings are: in the environment, or with --local in the
// file that make run writes.
func (o *operator) settings() (getenv func(string) string, err error) {
	if !o.local {
		return o.getenv, nil
	}
	settings, err := readLocal()
	return func(name string) string { return settings[name] }, err
}

// config reads the settings. With --account it ignores the settings about the
// storage account, and with --local it reads no settings but those of make run. Its
// error says everything that is wrong or missing.
func (o *operator) config() (app.Config, error) {
	getenv, err := o.settings()
	if err != nil {
		return app.Config{}, err
	}
	if o.account == "" {
		c, err := app.Read(getenv)
		return c, errors.Join(err, c.Missing())
	}
	c, err := app.Read(func(name string) string {
		// With IDENTITY_ENDPOINT the settings would mean the identity of an app.
		if strings.HasPrefix(name, storageSetting) || name == "IDENTITY_ENDPOINT" {
			return ""
		}
		return o.getenv(name)
	})
	c.Storage = table.Settings{ServiceURI: o.account, SignedIn: true}
	return c, err
}

// open returns the app as the settings want it.
func (o *operator) open() (*app.App, error) {
	c, err := o.config()
	if err != nil {
		return nil, err
	}
	return c.Open()
}

// openAs returns the app as the settings want it, and who changes alerts with it.
func (o *operator) openAs(ctx context.Context) (*app.App, alert.Person, error) {
	c, err := o.config()
	if err != nil {
		return nil, alert.Person{}, err
	}
	return openAs(ctx, c)
}

// openAs returns the app of a configuration, and who changes alerts with it.
func openAs(ctx context.Context, c app.Config) (*app.App, alert.Person, error) {
	a, err := c.Open()
	if err != nil {
		return nil, alert.Person{}, err
	}
	by, err := c.Storage.Person(ctx)
	return a, by, err
}

// colors reports whether a terminal may show colours (https://no-color.org).
func (o *operator) colors() bool {
	return !o.plain && o.getenv("NO_COLOR") == "" && o.getenv("TERM") != "dumb"
}

// newRoot returns the command with all its verbs, which write to out.
func newRoot(o *operator, out *screen) *cobra.Command {
	root := &cobra.Command{
		Use:   "hubwatch",
		Short: "Read and close alerts, and look after hubwatch",
		Long: `hubwatch is the operator's command: it reads and closes alerts, has judged again
what could not be judged, and looks at a deployment.

It reads the tables that the settings of the app name. They are environment
variables, and "hubwatch check" explains them. With --account no settings are
needed: it reads the tables of that storage account as whoever is signed in
with "az login" or "azd auth login". With --local it reads those of "make run".

Exit codes:
  0    done; an empty list, too
  1    something failed, or is wrong
  2    a mistake in the command line
  3    there is no such alert or suppression
  4    nobody is signed in, or a role is missing
  5    somebody else changed the alert meanwhile: nothing was saved
  10   with --exit-code alone: something was found
  130  interrupted`,
		Example: `  hubwatch alerts list --account contosostorage --since 7d
  hubwatch alerts set 41d31d3b --status resolved --reason "was planned"
  hubwatch --local hubs
  hubwatch check`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	group(root, newAlerts(o), newHubs(o), newCoverage(o), newConnections(o), newDevices(o), newSuppressions(o), newConsole(o), newQuarantine(o), newRules(o), newImport(), newDoctor(), newCheck(o), newNotify(o))
	flags := root.PersistentFlags()
	flags.Var(&accountFlag{&o.account}, "account", "storage account to read instead of the one in the settings: its `name` or its table endpoint")
	flags.BoolVar(&o.local, "local", false, "read what make run has, which has to be running")
	flags.BoolVar(&o.plain, "no-color", false, "no colours, as with NO_COLOR=1 or TERM=dumb; there are none unless on a terminal")
	root.PersistentPreRunE = func(command *cobra.Command, _ []string) error {
		if o.local && o.account != "" {
			return &usageError{command, errors.New("--local and --account: want one")}
		}
		out.color = isTerminal(out.Writer) && o.colors()
		return nil
	}
	showVersion := root.Flags().Bool("version", false, "print the version of hubwatch and the SHA-256 of this program")
	withoutVerb := root.RunE
	root.RunE = func(command *cobra.Command, args []string) error {
		if *showVersion && len(args) == 0 {
			return printVersion(command.OutOrStdout())
		}
		return withoutVerb(command, args)
	}
	root.SetUsageTemplate(usageTemplate)
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		err = inWords(err)
		if words := command.Flags().Args(); command.HasSubCommands() && len(words) > 0 {
			err = unknownVerb(command, words[0]) // the flag is probably the verb's
		}
		return &usageError{command, err}
	})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}

// inWords returns the error of a flag with what is wanted in place of what strconv says.
func inWords(err error) error {
	var number *strconv.NumError
	if !errors.As(err, &number) {
		return err
	}
	want := "want a whole number"
	switch {
	case number.Func == "ParseBool":
		want = "want true or false"
	case errors.Is(number, strconv.ErrRange):
		want = "want a smaller number"
	}
	return errors.New(strings.TrimSuffix(err.Error(), number.Error()) + want)
}

// group makes command a group of verbs, which does nothing by itself.
func group(command *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	command.AddCommand(verbs...)
	command.Use += " <command>"
	command.DisableFlagsInUseLine = true
	command.SuggestionsMinimumDistance = 2
	command.Args = cobra.ArbitraryArgs
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(args) > 0 {
			return &usageError{command, unknownVerb(command, args[0])}
		}
		var names []string
		for _, verb := range command.Commands() {
			if verb.IsAvailableCommand() {
				names = append(names, verb.Name())
			}
		}
		return &usageError{command, fmt.Errorf("want one of: %s", strings.Join(names, ", "))}
	}
	return command
}

// unknownVerb returns the error of a verb that the command does not have.
func unknownVerb(command *cobra.Command, name string) error {
	err := fmt.Errorf("there is no command %q", name)
	if similar := command.SuggestionsFor(name); len(similar) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(similar, " or "))
	}
	return err
}

// strict makes each wrong number of arguments a usageError, and each command that
// does nothing by itself a group.
func strict(command *cobra.Command) {
	for _, verb := range command.Commands() {
		strict(verb)
	}
	if !command.Runnable() {
		group(command)
	}
	if check := command.Args; check != nil {
		command.Args = func(command *cobra.Command, args []string) error {
			if err := check(command, args); err != nil {
				return &usageError{command, err}
			}
			return nil
		}
	}
}

// none is for verbs without arguments.
func none(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("want no argument, have %q", args)
	}
	return nil
}

// one is for verbs with one argument.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("want one %s, have %d", what, len(args))
		}
		return nil
	}
}

// helpWidth is how wide the help is.
const helpWidth = 80

// usageTemplate is cobra's own template, with lines of at most helpWidth.
var usageTemplate = strings.ReplaceAll(`Usage:
  {{.UseLine}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped WIDTH | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of all commands:
{{.InheritedFlags.FlagUsagesWrapped WIDTH | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

"{{.CommandPath}} <command> --help" says more about a command.{{end}}
`, "WIDTH", fmt.Sprint(helpWidth))

// accountFlag is the table endpoint of a storage account.
type accountFlag struct{ endpoint *string }

// accountName is the form of the name of a storage account
// (https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name).
var accountName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

// Set implements pflag.Value.
func (f *accountFlag) Set(s string) error {
	if accountName.MatchString(s) {
		s = "https://" + s + ".table.core.windows.net"
	} else if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return errors.New("want the name of a storage account, or its table endpoint: https://contosostorage.table.core.windows.net")
	}
	*f.endpoint = s
	return nil
}

// String implements pflag.Value.
func (f *accountFlag) String() string { return *f.endpoint }

// Type implements pflag.Value.
func (f *accountFlag) Type() string { return "name" }

// printVersion writes the version and the hash of this program. The same sources
// make the same bytes, so the hash shows whether a program was built from the
// commit that it claims.
func printVersion(w io.Writer) error {
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("version: %w", err)
	}
	file, err := os.Open(path) // #nosec G304 -- the path is that of this program
	if err != nil {
		return fmt.Errorf("version: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return fmt.Errorf("version: %w", err)
	}
	_, err = fmt.Fprintf(w, "hubwatch %s\nSHA-256 %x\n", version.Version, hash.Sum(nil))
	return err
}
