package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"hubwatch/handlers/doctor"
)

// newDoctor returns the verb that checks a deployment.
func newDoctor() *cobra.Command {
	var d doctor.Deployment
	command := &cobra.Command{
		Use:   "doctor --subscription <id> --resource-group <name> --app <name>",
		Short: "Look at a deployment and say what is wrong with it",
		Long: `doctor looks at a deployment of hubwatch and says, a line for each thing that
can be wrong, whether it is ok, wrong and what to do, or unknown and why. It
changes nothing, and ends with 1 if anything is wrong.

It compares each resource with the templates of this build, member by member,
so build it from the commit that is deployed. It reads the deployment stacks of
the README for the hubs that were deployed for. It cannot see the settings of
the app, which can hold secrets.

It signs in as you are signed in: az login. You need the role Reader on the
resource group and on the IoT hubs, and to see the tables, Storage Table Data
Reader on them (parameter readers of infra/main.bicep).`,
		Example: `  hubwatch doctor --subscription "$(az account show --query id --output tsv)" \
    --resource-group rg-iot --app hubwatch-contoso`,
		DisableFlagsInUseLine: true,
		Args:                  none,
		RunE: func(command *cobra.Command, _ []string) error {
			for _, name := range []string{"local", "account"} {
				if command.Flags().Changed(name) {
					return &usageError{command, fmt.Errorf("--%s: doctor looks at a deployment in Azure, which --subscription, --resource-group and --app name", name)}
				}
			}
			if err := d.Check(); err != nil {
				return &usageError{command, err}
			}
			verdicts := map[doctor.Verdict]int{}
			for result := range doctor.Run(command.Context(), d) {
				verdicts[result.Verdict]++
				fmt.Fprintln(command.OutOrStdout(), printable(result.String()))
			}
			fmt.Fprintf(command.OutOrStdout(), "\n%d ok, %d wrong, %d unknown\n", verdicts[doctor.OK], verdicts[doctor.Wrong], verdicts[doctor.Unknown])
			if verdicts[doctor.Wrong] > 0 {
				return errSaid
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&d.Subscription, "subscription", "", "`id` of the subscription: az account show --query id")
	flags.StringVar(&d.ResourceGroup, "resource-group", "", "`name` of the resource group of the deployment")
	flags.StringVar(&d.App, "app", "", "`name` of the function app, the parameter name of infra/main.bicep")
	flags.StringVar(&d.ControlPlaneTopic, "control-plane-topic", "", "`name` of the system topic, if infra/main.bicep was given one")
	flags.StringArrayVar(&d.Hubs, "hub", nil, "resource `id` of an IoT hub, once for each; without it, all hubs of the resource group")
	return command
}
