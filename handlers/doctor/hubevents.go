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

// checkHubEvents returns three checks for each IoT hub: whether it has a system topic, with the
// event subscriptions of the detectors of events that hubs publish themselves, whether the
// app takes what this topic delivers, and whether Azure Monitor has an alert of what is dropped.
// There are no such checks if there are no such detectors.
func checkHubEvents(d Deployment, a azure, deployed func(context.Context) (site, error), hubs []string) (checks []check) {
	needed := d.subscriptionsTo(detector.Hub)
	if len(needed) == 0 {
		return nil
	}
	topics := once(a.allSystemTopics)
	for _, hub := range hubs {
		topicOf := func(ctx context.Context) (*armeventgrid.SystemTopic, error) { // nil if there is none
			all, err := topics(ctx)
			i := slices.IndexFunc(all, func(t armeventgrid.SystemTopic) bool { return sameID(value(value(t.Properties).Source), hub) })
			if i < 0 || err != nil {
				return nil, err
			}
			return &all[i], nil
		}
		checks = append(checks, check{"events of hub " + lastOf(hub), func(ctx context.Context) Result {
			topic, err := topicOf(ctx)
			switch {
			case err != nil:
				return failed(err, "the subscription is missing")
			case topic == nil:
				return wrong("the hub has no system topic, without which there is no alert of %s: %s with this hub in iotHubs, and then %s", names(needed), deployMain, deploySubscriptions)
			}
			return checkHubTopic(ctx, d, a, deployed, *topic, needed)
		}}, check{"deliveries of events of hub " + lastOf(hub), func(ctx context.Context) Result {
			topic, err := topicOf(ctx)
			switch {
			case err != nil:
				return failed(err, "the subscription is missing")
			case topic == nil:
				return ok("there are none: the hub has no system topic")
			}
			return checkDeliveriesOf(ctx, a, value(topic.ID), needed)
		}}, check{"alert of Azure Monitor dropped of hub " + lastOf(hub), func(ctx context.Context) Result {
			id := ""
			if topic, err := topicOf(ctx); err == nil && topic != nil {
				id = value(topic.ID)
			}
			r := HubDropped(id).ofHub(d, hub) // The scope is not compared if the topic is not known.
			return checkFailure(ctx, d, a, r.id(d, site{}), r)
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
