package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"hubwatch/handlers/app"
	"hubwatch/handlers/notify"
)

// newNotify returns the verbs about telling people of alerts.
func newNotify(o *operator) *cobra.Command {
	return group(&cobra.Command{
		Use:   "notify",
		Short: "Try whether people are told of alerts",
		Long: `notify is about the channels by which people are told of alerts: the settings
NotifyUrls and Notify__<name>. docs/notify.md says what they may be.`,
		Example: "  hubwatch notify test",
	}, newNotifyTest(o))
}

// newNotifyTest returns the verb that sends a test through every channel.
func newNotifyTest(o *operator) *cobra.Command {
	return &cobra.Command{
		Use:   "test",
		Short: "Send a marked test through every channel, and say what arrived",
		Long: `test sends a message through every channel that the settings name, which says
that it is a test. It says of each channel whether its service took the message,
and ends with 1 if one did not, or if the setting of one is wrong. It needs no
storage account, and remembers nothing.

The settings are environment variables, as the app has them. A reference to a
Key Vault is read by Azure alone: here put the URL itself into the variable.

With Sentinel__endpoint and Sentinel__ruleId it sends a row to Microsoft
Sentinel, with the identity of whoever is signed in, who needs the role
Monitoring Metrics Publisher on the data collection rule. No incident is made
of it.`,
		Example: `  hubwatch notify test
  NotifyUrls="$(az keyvault secret show --id "$ID" --query value -o tsv)" \
    hubwatch notify test`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			getenv, err := o.settings()
			if err != nil {
				return err
			}
			c, err := app.Read(getenv)
			if err != nil {
				return err
			}
			channels, err := c.Channels()
			if err != nil {
				return err
			}
			if len(channels) == 0 && c.Notify.Faults == nil {
				return errors.New("no channel is set: say NotifyUrls, Notify__<name> or Sentinel__endpoint")
			}
			out := command.OutOrStdout()
			failed := 0
			teller := &notify.Teller{Channels: channels, Now: o.now}
			for _, tried := range teller.Try(command.Context()) {
				verdict, text := "ok", "the service took the message"
				if tried.Err != nil {
					verdict, text = "failed", tried.Err.Error()
					failed++
				}
				fmt.Fprintf(out, "%-8s %s: %s\n", verdict, printable(tried.Channel.Name()), printable(text))
			}
			faults := faultsOf(c.Notify.Faults)
			for _, name := range slices.Sorted(maps.Keys(faults)) {
				for _, line := range faults[name] {
					fmt.Fprintf(out, "%-8s %s: %s\n", "wrong", printable(name), printable(line))
					failed++
				}
			}
			if failed > 0 {
				return errSaid
			}
			return nil
		},
	}
}
