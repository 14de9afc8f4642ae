package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"

	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
)

// checkHubEvents returns a check for each IoT hub: whether it has a system topic, with the
// event subscriptions of the detectors of events that hubs publish themselves. There are no
// such checks if there are no such detectors.
func checkHubEvents(d Deployment, a azure, deployed func(context.Context) (site, error), hubs []string) (checks []check) {
	subscriptions, _ := app.Subscriptions(d.detectors) // or generate fails
	needed := slices.DeleteFunc(subscriptions, func(s app.Subscription) bool { return s.Source != detector.Hub })
	if len(needed) == 0 {
		return nil
	}
	topics := once(a.allSystemTopics)
	for _, hub := range hubs {
		checks = append(checks, check{"events of hub " + lastOf(hub), func(ctx context.Context) Result {
			all, err := topics(ctx)
			if err != nil {
				return failed(err, "the subscription is missing")
			}
			i := slices.IndexFunc(all, func(t armeventgrid.SystemTopic) bool { return sameID(value(value(t.Properties).Source), hub) })
			if i < 0 {
				return wrong("the hub has no system topic, without which there is no alert of %s: %s with this hub in iotHubs, and then %s", names(needed), deployMain, deploySubscriptions)
			}
			return checkHubTopic(ctx, d, a, deployed, all[i], needed)
		}})
	}
	return checks
}

// checkHubTopic checks the event subscriptions on the system topic of a hub.
func checkHubTopic(ctx context.Context, d Deployment, a azure, deployed func(context.Context) (site, error), topic armeventgrid.SystemTopic, needed []app.Subscription) Result {
	id, err := arm.ParseResourceID(value(topic.ID))
	if err != nil {
		return unknown("the id of the topic: %s", reason(err))
	}
	existing, err := a.subscriptionsOf(ctx, id.ResourceGroupName, id.Name)
	if err != nil {
		return failed(err, deployMain)
	}
	site, _ := deployed(ctx) // If the app cannot be asked, its storage account is not compared.
	var problems []string
	known := map[string]bool{}
	for _, each := range needed {
		known[strings.ToLower(each.Name)] = true
		i := slices.IndexFunc(existing, func(s armeventgrid.EventSubscription) bool { return strings.EqualFold(value(s.Name), each.Name) })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("the event subscription %s is missing on the topic %s: %s with this hub in iotHubs", each.Name, id.Name, deploySubscriptions))
		} else if r := checkSubscription(d, each, existing[i], site); r.Verdict == Unknown {
			return r
		} else if r.Verdict == Wrong {
			problems = append(problems, "event subscription "+each.Name+": "+r.Text)
		}
	}
	problems = append(problems, leftOver(d, existing, known)...)
	return inFull(problems, "they go from the topic %s to %s, and to no other function", id.Name, names(needed))
}

// names returns the names of functions that get events in one text.
func names(subscriptions []app.Subscription) string {
	var list []string
	for _, each := range subscriptions {
		list = append(list, each.Function)
	}
	return strings.Join(list, ", ")
}
