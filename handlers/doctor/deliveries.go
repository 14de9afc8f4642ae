package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"

	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
)

// Deliveries are looked for in the last hours. The pauses between two attempts grow to one
// hour and more, so an event that is refused is seen in these hours
// (https://learn.microsoft.com/azure/event-grid/delivery-and-retry#retry-schedule).
const (
	deliveriesBack     = 6 * time.Hour
	deliveriesInterval = "PT5M"
)

// mostFirst is how many failures can be those of first deliveries after a pause, if none
// succeeded since. The alert changes-refused of main.bicep counts as many.
const mostFirst = 3

// checkDeliveries returns a check for each topic of the deployment: whether the app takes what
// Event Grid delivers. Metrics and dimensions:
// https://learn.microsoft.com/azure/event-grid/monitor-push-reference#metrics
func checkDeliveries(d Deployment, a azure) []check {
	var checks []check
	for _, topic := range []struct {
		name, id string
		source   detector.Source
	}{
		{d.ControlPlaneTopic, d.changesID(), detector.ControlPlane},
		{d.connectionsTopic(), d.connectionsID(), detector.Connections},
		{d.alertsTopic(), d.alertsTopicID(), detector.Alerts},
	} {
		checks = append(checks, check{"deliveries of " + topic.name, func(ctx context.Context) Result {
			return checkDeliveriesOf(ctx, a, topic.id, d.subscriptionsTo(topic.source))
		}})
	}
	return checks
}

// subscriptionsTo returns the event subscriptions of this build to a source.
func (d Deployment) subscriptionsTo(source detector.Source) []app.Subscription {
	all, _ := app.Subscriptions(d.detectors) // or generate fails
	return slices.DeleteFunc(all, func(s app.Subscription) bool { return s.Source != source })
}

// checkDeliveriesOf looks at the deliveries of one topic.
func checkDeliveriesOf(ctx context.Context, a azure, topic string, own []app.Subscription) Result {
	now := time.Now()
	failures, err := a.deliveries(ctx, topic, "DeliveryAttemptFailCount", now, "EventSubscriptionName", "Error")
	if err != nil {
		return failed(err, deployMain)
	}
	successes, err := a.deliveries(ctx, topic, "DeliverySuccessCount", now, "EventSubscriptionName")
	if err != nil {
		return failed(err, deployMain)
	}
	return judgeDeliveries(failures, successes, own)
}

// series is what a metric counted for one value of each dimension.
type series struct {
	values []string // of the dimensions, in the order in which they were asked for
	total  float64
	last   time.Time // when it last counted something
}

// deliveries returns what a metric counted in the last hours before now, for each value of
// dimensions, without what is 0.
func (a azure) deliveries(ctx context.Context, resource, metric string, now time.Time, dimensions ...string) ([]series, error) {
	now = now.UTC()
	var filter []string
	for _, name := range dimensions {
		filter = append(filter, name+" eq '*'")
	}
	response, err := a.metrics.List(ctx, strings.TrimPrefix(resource, "/"), &armmonitor.MetricsClientListOptions{
		Metricnames: to.Ptr(metric),
		Aggregation: to.Ptr("Total"),
		Interval:    to.Ptr(deliveriesInterval),
		Timespan:    to.Ptr(now.Add(-deliveriesBack).Format(time.RFC3339) + "/" + now.Format(time.RFC3339)),
		Filter:      to.Ptr(strings.Join(filter, " and ")),
		Top:         to.Ptr[int32](1000),
	})
	if err != nil {
		return nil, err
	}
	var list []series
	for _, m := range response.Value {
		if code := value(value(m).ErrorCode); code != "" && code != "Success" {
			return nil, fmt.Errorf("metric %s: %s: %s", metric, code, value(m.ErrorMessage))
		}
		for _, element := range value(m).Timeseries {
			s := series{values: make([]string, len(dimensions))}
			for _, each := range value(element).Metadatavalues {
				name := value(value(value(each).Name).Value)
				if i := slices.IndexFunc(dimensions, func(d string) bool { return strings.EqualFold(d, name) }); i >= 0 {
					s.values[i] = value(each.Value)
				}
			}
			for _, point := range value(element).Data {
				if p := value(point); value(p.Total) > 0 {
					s.total += *p.Total
					if at := value(p.TimeStamp); at.After(s.last) {
						s.last = at
					}
				}
			}
			if s.total > 0 {
				list = append(list, s)
			}
		}
	}
	return list, nil
}

// judgeDeliveries says of each event subscription of hubwatch whether its deliveries fail for
// good. The first deliveries after a pause fail, and succeed at the next attempt. Other people's
// subscriptions to a topic deliver elsewhere: that they fail is said, and is not wrong.
func judgeDeliveries(failures, successes []series, own []app.Subscription) Result {
	succeeded := map[string]time.Time{}
	for _, s := range successes {
		name := strings.ToLower(s.values[0])
		succeeded[name] = later(succeeded[name], s.last)
	}
	type subscription struct {
		name   string
		n      float64
		last   time.Time
		errors map[string]bool
	}
	failing := map[string]*subscription{}
	all, others := 0.0, map[string]bool{}
	for _, s := range failures {
		name := strings.ToLower(s.values[0])
		if !slices.ContainsFunc(own, func(each app.Subscription) bool { return strings.ToLower(each.Name) == name }) {
			others[s.values[0]] = true
			continue
		}
		all += s.total
		if failing[name] == nil {
			failing[name] = &subscription{name: s.values[0], errors: map[string]bool{}}
		}
		f := failing[name]
		f.n, f.last, f.errors[s.values[1]] = f.n+s.total, later(f.last, s.last), true
	}
	var problems, waiting []string
	remedies := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(failing)) {
		f := failing[name]
		if !succeeded[name].Before(f.last) {
			continue
		}
		errors := slices.Sorted(maps.Keys(f.errors))
		text := fmt.Sprintf("%s: %.0f failed and none succeeded since, the last in the five minutes from %s UTC (%s)",
			f.name, f.n, f.last.UTC().Format("2006-01-02 15:04"), strings.Join(errors, ", "))
		if f.n <= mostFirst {
			waiting = append(waiting, text)
			continue
		}
		problems = append(problems, text)
		for _, e := range errors {
			remedies[refused(e)] = true
		}
	}
	switch {
	case len(problems) > 0:
		return wrong("%s", strings.Join(append(problems, slices.Sorted(maps.Keys(remedies))...), "; "))
	case len(waiting) > 0:
		return unknown("%s: the first deliveries after a pause are refused, and tried again after minutes (%s); ask again in an hour", strings.Join(waiting, "; "), coldStart)
	}
	besides := ""
	if len(others) > 0 {
		besides = "; some failed of event subscriptions that are not hubwatch's: " + strings.Join(slices.Sorted(maps.Keys(others)), ", ")
	}
	if all > 0 {
		return ok("%.0f failed in %d hours, and later ones succeeded: the first deliveries after a pause are refused and tried again (%s); alwaysReady of main.bicep avoids that%s", all, deliveriesBack/time.Hour, coldStart, besides)
	}
	return ok("none failed in %d hours%s", deliveriesBack/time.Hour, besides)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Known defects of the Functions host.
const (
	coldStart   = "https://github.com/Azure/azure-functions-host/issues/11834"
	replacedKey = "https://github.com/Azure/azure-functions-host/pull/11904"
)

// refused says what to do about an error of deliveries. Microsoft does not document which
// values the dimension Error has, so it is compared with names and numbers of statuses.
func refused(e string) string {
	e = strings.ToLower(e)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(e, part) })
	}
	switch {
	case has("unauthorized", "401"):
		return "the app refuses the key with which Event Grid delivers, since the key was replaced (" + replacedKey + "): " + deploySubscriptions + " again, and if that does not help delete the event subscriptions first (docs/operate.md)"
	case has("forbidden", "403"):
		return "the app refuses the address of Event Grid, and such events are not tried again: " + deployMain + ", which lets the service tag AzureEventGrid in"
	case has("notfound", "not found", "404"):
		return "the app does not have the function: " + publishCode + ", and then " + deploySubscriptions
	}
	return "the app does not take them: its log says why, and so does the check of the app"
}
