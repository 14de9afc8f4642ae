package main

import (
	"errors"
	"fmt"

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
Key Vault is read by Azure alone: here put the URL itself into the variable.`,
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
			if len(c.Notify.Channels) == 0 && c.Notify.Faults == nil {
				return errors.New("no channel is set: say NotifyUrls or Notify__<name>")
			}
			out := command.OutOrStdout()
			failed := 0
			teller := &notify.Teller{Channels: c.Notify.Channels, Now: o.now}
			for _, tried := range teller.Try(command.Context()) {
				verdict, text := "ok", "the service took the message"
				if tried.Err != nil {
					verdict, text = "failed", tried.Err.Error()
					failed++
				}
				fmt.Fprintf(out, "%-8s %s: %s\n", verdict, printable(tried.Channel.Name()), printable(text))
			}
			for name, lines := range faultsOf(c.Notify.Faults) {
				for _, line := range lines {
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
