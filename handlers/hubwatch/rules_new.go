package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/custom"
)

// newRulesNew returns the verb that begins a custom alert.
func newRulesNew(files *ruleFiles) *cobra.Command {
	source := &choice{name: "source", words: []string{string(custom.Resources), string(custom.Connections), string(custom.Logs), string(custom.Hub)}, word: string(custom.Resources)}
	command := &cobra.Command{
		Use:   "new <name>",
		Short: "Begin a custom alert, with comments and cases",
		Long: `new writes functions/<name>/alert.json: a custom alert that is not enabled, has
no mistakes, and passes its cases. Texts that begin with REPLACE say what is to
stand there, and members called $comment what each part is for, and what else
there can be. Nothing reads the comments.

The source is where the events come from: resources for operations of Azure
Resource Manager, connections for connections that failed, with their causes,
logs for records of a hub's resource logs, hub for what a hub itself says of
its devices.`,
		Example: `  hubwatch rules new HubKeysTaken
  hubwatch rules new StrangeDevice --source hub`,
		Args: one("name"),
		RunE: func(command *cobra.Command, args []string) error {
			a, err := custom.New(args[0], custom.Source(source.word))
			if err != nil {
				return &usageError{command, err}
			}
			there, err := os.ReadDir(files.folder)
			if err != nil {
				return fmt.Errorf("there is no folder %s: run this in the root of the repository, or name the folder with --functions", files.folder)
			}
			folder := filepath.Join(files.folder, a.Name)
			for _, entry := range there {
				// Neither the Functions host nor many file systems tell letter cases apart.
				if strings.EqualFold(entry.Name(), a.Name) {
					return &usageError{command, fmt.Errorf("%s is there already", filepath.Join(files.folder, entry.Name()))}
				}
			}
			if err := os.Mkdir(folder, 0o755); err != nil { // #nosec G301 -- sources are for all to read
				return err
			}
			file := filepath.Join(folder, custom.FileName)
			if err := os.WriteFile(file, custom.Format(a), 0o644); err != nil { // #nosec G306 -- sources are for all to read
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s\nIts comments say what each part is for; docs/custom-alerts.md has all of them.\nReplace the texts that begin with REPLACE, and write the condition and the cases.\nThen:\n"+
				"  hubwatch rules check %[2]s\n  hubwatch rules test %[2]s\n  hubwatch rules explain %[2]s\nTo deploy it, set enabled to true and run make generate.\n", filepath.ToSlash(file), a.Name)
			return err
		},
	}
	addChoice(command, source, "", "resources, connections, logs or hub")
	return command
}
