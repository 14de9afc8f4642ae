package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
)

// Azure Monitor keeps metrics for 93 days; arrivals are looked for in the last
// 30, by the hour
// (https://learn.microsoft.com/azure/azure-monitor/essentials/data-platform-metrics#retention-of-metrics).
const (
	lookBack = 30 * 24 * time.Hour
	interval = "PT1H"
)

// checkArrivals returns a check for each source of events: when the last one
// came. A source without events is not wrong by itself, so the result is ok or
// unknown. Metrics:
// https://learn.microsoft.com/azure/event-grid/monitor-push-reference#metrics and
// https://learn.microsoft.com/azure/event-hubs/monitor-event-hubs-reference#metrics
func checkArrivals(d Deployment, a azure) []check {
	sources := []struct{ what, resource, metric, quiet string }{
		{"last change of a resource", d.changesID(), "PublishSuccessCount",
			"change something that is watched, for example a certificate (README, Deploy), and ask again in five minutes"},
		{"last message of the Connections log", d.namespaceID(), "IncomingMessages",
			"the first may come 90 minutes after the diagnostic setting was made, and then with every device that connects"},
		{"last failed connection", d.connectionsID(), "PublishSuccessCount",
			"right if no device failed to connect"},
	}
	var checks []check
	for _, s := range sources {
		checks = append(checks, check{s.what, func(ctx context.Context) Result {
			hour, err := a.lastHour(ctx, s.resource, s.metric, time.Now())
			switch {
			case err != nil:
				return failed(err, deployMain)
			case hour.IsZero():
				return unknown("none in %d days: %s", lookBack/(24*time.Hour), s.quiet)
			}
			return ok("in the hour from %s UTC", hour.UTC().Format("2006-01-02 15:04"))
		}})
	}
	return checks
}

// lastHour returns the beginning of the last hour before now in which a metric
// that counts was not 0. It is the zero time if there was none.
func (a azure) lastHour(ctx context.Context, resource, metric string, now time.Time) (time.Time, error) {
	now = now.UTC()
	response, err := a.metrics.List(ctx, strings.TrimPrefix(resource, "/"), &armmonitor.MetricsClientListOptions{
		Metricnames: to.Ptr(metric),
		Aggregation: to.Ptr("Total"),
		Interval:    to.Ptr(interval),
		Timespan:    to.Ptr(now.Add(-lookBack).Format(time.RFC3339) + "/" + now.Format(time.RFC3339)),
	})
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for _, m := range response.Value {
		if code := value(value(m).ErrorCode); code != "" && code != "Success" {
			return time.Time{}, fmt.Errorf("metric %s: %s: %s", metric, code, value(m.ErrorMessage))
		}
		for _, series := range value(m).Timeseries {
			for _, point := range value(series).Data {
				if p := value(point); value(p.Total) > 0 && value(p.TimeStamp).After(last) {
					last = *p.TimeStamp
				}
			}
		}
	}
	return last, nil
}
