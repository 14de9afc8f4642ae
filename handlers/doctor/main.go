// Command doctor looks at a deployment of hubwatch and says, a line for each
// thing that can be wrong, whether it is ok, wrong and what to do, or unknown
// and why. It changes nothing.
//
// It is not part of the app: the modules for Azure Resource Manager would make
// the handler larger and slower to start. Run it in the root of the repository,
// on the commit that is deployed, since it compares with its own build.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Exit codes. What is unknown is not wrong.
const (
	exitWrong = 1
	exitUsage = 2
)

// checkTimeout bounds one check, with all that it has to ask for.
const checkTimeout = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], inAzure, os.Stdout, os.Stderr))
}

const usage = `doctor looks at a deployment of hubwatch, changes nothing, and ends with 1 if anything is wrong.
It signs in as you are signed in: az login. You need the role Reader on the resource group and on the IoT hubs,
and to see the tables, Storage Table Data Reader on them (parameter readers of infra/main.bicep).

  go run ./handlers/doctor -subscription <id> -resource-group <name> -app <name> [-hub <resource id> ...]

`

// world is what the doctor talks to.
type world struct {
	credential azcore.TokenCredential
	options    *arm.ClientOptions
	// table reads from a table of the storage account with this table endpoint.
	table func(ctx context.Context, endpoint, name string) error
}

// inAzure is the world outside of tests.
func inAzure() (world, error) {
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return world{}, err
	}
	options := &arm.ClientOptions{ClientOptions: policy.ClientOptions{
		Retry: policy.RetryOptions{MaxRetries: 2, TryTimeout: 15 * time.Second},
	}}
	return world{credential, options, readTable}, nil
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, open func() (world, error), stdout, stderr io.Writer) int {
	d, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	}
	w, err := open()
	if err != nil {
		report(stdout, "sign-in", wrong("%s", reason(err)))
		return exitWrong
	}
	who := check{"sign-in", w.signIn}
	verdicts := map[verdict]int{report(stdout, who.name, who.within(ctx)): 1}
	if verdicts[isWrong] > 0 {
		return exitWrong // and all the rest would be unknown
	}
	azure, err := connect(d.subscription, w)
	if err != nil {
		fmt.Fprintln(stderr, "doctor:", err)
		return exitWrong
	}
	for _, c := range checks(ctx, d, azure) {
		verdicts[report(stdout, c.name, c.within(ctx))]++
	}
	fmt.Fprintf(stdout, "\n%d ok, %d wrong, %d unknown\n", verdicts[isOK], verdicts[isWrong], verdicts[isUnknown])
	if verdicts[isWrong] > 0 {
		return exitWrong
	}
	return 0
}

// guid is the form of a subscription's id.
var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// parse reads the command line. What is wrong with it is written to stderr.
func parse(args []string, stderr io.Writer) (deployment, error) {
	var d deployment
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&d.subscription, "subscription", "", "`id` of the subscription: az account show --query id")
	flags.StringVar(&d.group, "resource-group", "", "`name` of the resource group of the deployment")
	flags.StringVar(&d.app, "app", "", "`name` of the function app, the parameter name of infra/main.bicep")
	flags.StringVar(&d.changesTopic, "control-plane-topic", "", "`name` of the system topic, if infra/main.bicep was given one")
	flags.Func("hub", "resource `id` of an IoT hub, once for each; without it, all hubs of the resource group", func(id string) error {
		hub, err := arm.ParseResourceID(id)
		if err != nil || !sameID(hub.ResourceType.String(), hubType) {
			return errors.New("want /subscriptions/<id>/resourceGroups/<name>/providers/Microsoft.Devices/IotHubs/<name>")
		}
		d.hubs = append(d.hubs, hub.String())
		return nil
	})
	err := flags.Parse(args)
	if err != nil {
		return d, err
	}
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("there is no argument %q", flags.Arg(0))
	case !guid.MatchString(d.subscription):
		err = errors.New("-subscription: want the id of a subscription, not its name")
	case d.group == "" || d.app == "":
		err = errors.New("-resource-group and -app: want both")
	}
	if err != nil {
		fmt.Fprintf(stderr, "doctor: %v\n\n", err)
		flags.Usage()
	}
	if d.changesTopic == "" {
		d.changesTopic = d.app + "-control-plane"
	}
	return d, err
}

// signIn finds out whether there is an identity at all, before everything else
// fails for the want of it.
func (w world) signIn(ctx context.Context) result {
	scope := cloud.AzurePublic.Services[cloud.ResourceManager].Audience + "/.default"
	if _, err := w.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}}); err != nil {
		return wrong("there is no token for Azure Resource Manager: sign in with az login (%s)", reason(err))
	}
	return ok("there is a token for Azure Resource Manager")
}
