// Package doctor checks a deployment of hubwatch. Each result is ok, wrong with
// what to do, or unknown with the reason. The doctor changes nothing. It compares
// the deployment with its own build.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"hubwatch/handlers/table"
)

// checkTimeout bounds one check, with all that it has to ask for.
const checkTimeout = time.Minute

// world is what the doctor talks to.
type world struct {
	credential azcore.TokenCredential
	options    *arm.ClientOptions
	// table reads from a table of the storage account with this table endpoint.
	table func(ctx context.Context, endpoint, name string) error
	// oldest returns when the oldest verdict that waits in the storage account with this table
	// endpoint was due; the zero time if none is late.
	oldest func(ctx context.Context, endpoint string) (time.Time, error)
	// coverage reads what the app has written of what it hears, from the storage account with
	// this table endpoint.
	coverage func(ctx context.Context, endpoint string) (sights, error)
	// backlogs returns what waits in the quarantine of the storage account with this table
	// endpoint, and whether there is more.
	backlogs func(ctx context.Context, endpoint string) (list []table.Backlog, more bool, err error)
	// visit asks for a page as a stranger does.
	visit func(ctx context.Context, address string) (status int, err error)
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
	return world{credential, options, readTable, oldestVerdict, readCoverage, readBacklogs, visit}, nil
}

// Run looks at a deployment with the identity of whoever is signed in, and returns
// what it finds, a result for each check. It makes the checks as the results are
// drawn. If nobody is signed in, that is the only result.
func Run(ctx context.Context, d Deployment) iter.Seq[Result] { return run(ctx, d, inAzure) }

// run is Run in any world.
func run(ctx context.Context, d Deployment, open func() (world, error)) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		var azure azure
		signIn := check{"sign-in", func(ctx context.Context) Result {
			w, err := open()
			if err != nil {
				return wrong("%s", reason(err))
			}
			if azure, err = connect(d.Subscription, w); err != nil {
				return wrong("%s", reason(err))
			}
			return w.signIn(ctx)
		}}.within(ctx)
		if !yield(signIn) || signIn.Verdict == Wrong {
			return // All the rest would be unknown.
		}
		for _, c := range checks(ctx, d.named(), azure) {
			if !yield(c.within(ctx)) {
				return
			}
		}
	}
}

// guid is the form of a subscription's id.
var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// Check returns an error if d cannot name a deployment. It asks nobody.
func (d Deployment) Check() error {
	switch {
	case d.Subscription == "":
		return errors.New("subscription: want its id")
	case !guid.MatchString(d.Subscription):
		return fmt.Errorf("subscription %q: want its id, not its name", d.Subscription)
	case d.ResourceGroup == "":
		return errors.New("resource group: want its name")
	case d.App == "":
		return errors.New("app: want its name")
	}
	for _, id := range d.Hubs {
		hub, err := arm.ParseResourceID(id)
		if err != nil || !sameID(hub.ResourceType.String(), hubType) {
			return fmt.Errorf("hub %q: want /subscriptions/<id>/resourceGroups/<name>/providers/%s/<name>", id, hubType)
		}
	}
	return nil
}

// signIn checks whether anybody is signed in. Without an identity, everything
// else would fail.
func (w world) signIn(ctx context.Context) Result {
	scope := cloud.AzurePublic.Services[cloud.ResourceManager].Audience + "/.default"
	if _, err := w.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}}); err != nil {
		return wrong("there is no token for Azure Resource Manager: sign in with az login (%s)", reason(err))
	}
	return ok("there is a token for Azure Resource Manager")
}
