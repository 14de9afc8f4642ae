package main

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/table"
	"hubwatch/handlers/verdict"
)

// chart is how something grows: a picture and a table.
type chart struct {
	file   string // of the picture, without its ending
	title  string
	x      string    // what grows
	xs     []float64 // how much of it
	y      string    // the axis of the picture
	series []series
	more   []series // that are in the table alone
}

type series struct {
	name string
	ys   []float64 // NaN for none
}

// grow measures how everything grows, draws the pictures into a folder, and returns the
// tables. link is how a page names the folder.
func grow(rounds int, folder, link string) (string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil { // #nosec G301 -- pictures of the documentation
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s %s/%s, %s, of which one processor is used. Medians of %d rounds, but for storms, which are measured once.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, processor(), rounds)
	for _, measure := range []func(rounds int) (chart, error){growRules, growSize, growAlerts, growDevices} {
		c, err := measure(rounds)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.title, err)
		}
		fmt.Fprintf(os.Stderr, "%s\n", c.title)
		if err := c.draw(filepath.Join(folder, c.file+".svg")); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n### %s\n\n![%s](%s/%s.svg)\n\n%s", c.title, c.title, link, c.file, c.table())
	}
	return b.String(), nil
}

// table returns the chart as Markdown.
func (c chart) table() string {
	var b strings.Builder
	b.WriteString("| " + c.x + " |")
	all := append(append([]series{}, c.series...), c.more...)
	for _, s := range all {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for i, x := range c.xs {
		fmt.Fprintf(&b, "| %s |", thousands(x))
		for _, s := range all {
			if math.IsNaN(s.ys[i]) {
				b.WriteString("  |")
			} else {
				b.WriteString(" " + figure(s.ys[i]) + " |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// thousands writes a whole number.
func thousands(x float64) string {
	text := fmt.Sprintf("%.0f", x)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// figure writes a number with three significant digits.
func figure(y float64) string {
	switch {
	case y == math.Floor(y), y >= 100:
		return thousands(y)
	case y >= 10:
		return fmt.Sprintf("%.1f", y)
	}
	return fmt.Sprintf("%.2f", y)
}

// draw draws the series with a logarithm on both axes. So what grows with n is a line that
// rises as the dotted one, and what does not grow is level.
func (c chart) draw(file string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x, c.y
	p.Title.Padding, p.X.Padding, p.Y.Padding = vg.Points(8), vg.Points(4), vg.Points(4)
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(ticks), plot.TickerFunc(ticks)
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(3)
	p.Add(plotter.NewGrid())
	least := math.Inf(1)
	for i, s := range c.series {
		var points plotter.XYs
		for k, y := range s.ys {
			if y > 0 {
				points = append(points, plotter.XY{X: c.xs[k], Y: y})
				least = min(least, y)
			}
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = plotutil.Color(i), vg.Points(1.5)
		marks.Color, marks.Shape = plotutil.Color(i), plotutil.Shape(i)
		p.Add(line, marks)
		p.Legend.Add(s.name, line, marks)
	}
	// From the lowest point on, what doubles with x.
	first, last := c.xs[0], c.xs[len(c.xs)-1]
	steps := last / first
	linear, err := plotter.NewLine(plotter.XYs{{X: first, Y: least}, {X: last, Y: least * steps}})
	if err != nil {
		return err
	}
	linear.Dashes, linear.Color = []vg.Length{vg.Points(2), vg.Points(3)}, plotutil.DarkColors[len(plotutil.DarkColors)-1]
	top := p.Y.Max
	p.Add(linear)
	p.Y.Max = top * 30 // room for the legend
	p.X.Max = last * 3 // and for the last label, however wide the letters are
	p.Legend.Add("twice as much for twice as many", linear)
	return p.Save(18*vg.Centimeter, 11*vg.Centimeter, file)
}

// ticks are those of an axis with a logarithm, labelled in whole numbers from 1 on.
func ticks(least, most float64) []plot.Tick {
	all := plot.LogTicks{Prec: -1}.Ticks(least, most)
	for i, t := range all {
		if t.Label != "" && t.Value >= 1 {
			all[i].Label = thousands(t.Value)
		}
	}
	return all
}

// growRules measures an event that n custom alerts judge.
func growRules(rounds int) (chart, error) {
	counts := []int{1, 10, 100, 1000}
	c := chart{file: "alerts", title: "An event, by the number of custom alerts that judge it", x: "custom alerts", y: "µs of CPU"}
	results, err := judgeRules(rounds, counts)
	if err != nil {
		return c, err
	}
	cel, compiled, once, kib := series{name: "in CEL, µs"}, series{name: "the same in Go, µs"}, series{name: "compiling them, once, ms"}, series{name: "memory of all, KiB"}
	for _, r := range results {
		c.xs = append(c.xs, float64(r.n))
		cel.ys, compiled.ys = append(cel.ys, median(r.cel)), append(compiled.ys, median(r.inGo))
		once.ys, kib.ys = append(once.ys, r.compile), append(kib.ys, r.compiledKiB*float64(r.n))
	}
	c.series, c.more = []series{cel, compiled}, []series{once, kib}
	return c, nil
}

// growSize measures an event by its size.
func growSize(rounds int) (chart, error) {
	c := chart{file: "size", title: "An event, by its size", x: "bytes", y: "µs of CPU", xs: []float64{1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000}}
	names := []string{"silent", "with an alert", "json.Valid of the same bytes"}
	c.series = make([]series, len(names))
	for i, name := range names {
		c.series[i].name = name
	}
	d := detector.CertificateAdded
	added := strings.NewReplacer("ResourceActionSuccess", "ResourceWriteSuccess", "IotHubs/listkeys/action", "IotHubs/certificates/write",
		"IotHubs/contoso-hub", "IotHubs/contoso-hub/certificates/root-1").Replace(keysListed)
	for _, size := range c.xs {
		for i, operation := range []string{"certificates/delete", "certificates/write"} {
			list := []jsontext.Value{padded(strings.ReplaceAll(added, "certificates/write", operation), int(size))}
			judged := func(raw *jsontext.Value) bool {
				v := d.Judge(*raw)
				if i == 0 {
					return v.Err == nil && len(v.Occurrences) == 0
				}
				return v.Err == nil && len(v.Occurrences) == 1 && v.Occurrences[0].DisplayName == d.Title
			}
			if n := float64(len(list[0])); n < 0.9*size || n > 1.1*size {
				return c, fmt.Errorf("an event of %.0f bytes has %.0f", size, n)
			}
			if !judged(&list[0]) {
				return c, fmt.Errorf("%.0f bytes, %s: it is judged in another way", size, operation)
			}
			var times, valid []float64
			for range rounds {
				if err := errors.Join(each(&times, list, judged), each(&valid, list, func(raw *jsontext.Value) bool { return stdjson.Valid(*raw) })); err != nil {
					return c, err
				}
			}
			c.series[i].ys = append(c.series[i].ys, median(times))
			if i == 1 {
				c.series[2].ys = append(c.series[2].ys, median(valid))
			}
		}
	}
	return c, nil
}

// padded returns an event with so many bytes, whose data has further members.
func padded(body string, size int) []byte {
	const item = `{"id":12345,"text":"A text of the usual length, without anything in it."},`
	n := (size - len(body)) / len(item)
	if n <= 0 {
		return []byte(body)
	}
	padding := `"data": {"items":[` + strings.TrimSuffix(strings.Repeat(item, n), ",") + `],`
	return []byte(strings.Replace(body, `"data": {`, padding, 1))
}

// growAlerts measures requests about alerts by how many the table has. The service answers
// each after 2 ms.
func growAlerts(rounds int) (chart, error) {
	c := chart{file: "table", title: "Questions and writes, by the alerts in the table", x: "alerts", y: "ms"}
	questions := []struct {
		name string
		ask  func(ctx context.Context, a *table.Alerts, n int) (int, error)
		want int
	}{
		{"the newest 50", func(ctx context.Context, a *table.Alerts, _ int) (int, error) {
			return drawn(ctx, a, alert.Query{}, 50)
		}, 50},
		{"all in progress", func(ctx context.Context, a *table.Alerts, _ int) (int, error) {
			return drawn(ctx, a, alert.Query{Statuses: []alert.Status{alert.InProgress}}, -1)
		}, 0},
		{"one by its reference", func(ctx context.Context, a *table.Alerts, _ int) (int, error) {
			o := occurrence(7, 1, false)
			_, evidence, err := a.Find(ctx, alert.Ref{Hub: o.Hub.Name, Day: o.Day(), ID: o.ID})
			n := 0
			for _, err := range evidence {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, err
		}, 1},
		{"a new alert", func(ctx context.Context, a *table.Alerts, n int) (int, error) {
			recorded, err := a.Record(ctx, occurrence(alertsOfADay+n, 1, false))
			if err == nil && recorded[0].Outcome != alert.New {
				err = fmt.Errorf("it is %v", recorded[0].Outcome)
			}
			return 1, err
		}, 1},
	}
	c.series, c.more = make([]series, len(questions)), make([]series, len(questions))
	for i, q := range questions {
		c.series[i].name, c.more[i].name = q.name+", ms", q.name+", requests"
	}
	for _, days := range []int{1, 10, 100, 1000} { // of hubs
		hubs := min(10, days)
		archive, connection, stop, err := startArchive(context.Background(), 2*time.Millisecond, hubs, days/hubs)
		if err != nil {
			return c, err
		}
		account, err := table.Open(table.Settings{ConnectionString: connection})
		if err != nil {
			stop()
			return c, err
		}
		alerts := account.Alerts(archiveTable)
		c.xs = append(c.xs, float64(alertsOfADay*days))
		for i, q := range questions {
			var took []float64
			for n := range rounds + 1 { // the first opens connections, and copies partitions
				archive.requests.Store(0)
				begin := time.Now()
				if got, err := q.ask(context.Background(), alerts, n); err != nil || got != q.want {
					stop()
					return c, fmt.Errorf("%s of %d hub days: %d, want %d: %w", q.name, days, got, q.want, err)
				}
				took = append(took, float64(time.Since(begin).Microseconds())/1000)
			}
			c.series[i].ys = append(c.series[i].ys, median(took[1:]))
			c.more[i].ys = append(c.more[i].ys, float64(archive.requests.Load()))
		}
		stop()
	}
	return c, nil
}

// drawn returns how many alerts a list has, most at most.
func drawn(ctx context.Context, a *table.Alerts, q alert.Query, most int) (n int, err error) {
	for _, err := range a.List(ctx, q) {
		if err != nil {
			return n, err
		}
		if n++; n == most {
			break
		}
	}
	return n, nil
}

// growDevices measures what it takes to stage and to judge the records of devices that are
// all refused at once.
func growDevices(int) (chart, error) {
	c := chart{file: "devices", title: "A storm, by the devices that are refused at once", x: "devices", y: "ms of CPU", xs: []float64{10, 100, 1_000, 10_000, 100_000, 1_000_000}}
	staging, judging, unknown := series{name: "staging, ms"}, series{name: "the verdict, ms"}, series{name: "the verdict if no cause is known, ms"}
	weight, told := series{name: "memory of the verdict, MiB"}, series{name: "events"}
	for _, devices := range c.xs {
		s, weighed, err := storm(int(devices), "iothub")
		if err != nil {
			return c, err
		}
		signed, _, err := storm(int(devices), "external")
		if err != nil {
			return c, err
		}
		unknown.ys = append(unknown.ys, signed.judging)
		staging.ys, judging.ys = append(staging.ys, s.staging), append(judging.ys, s.judging)
		weight.ys, told.ys = append(weight.ys, weighed), append(told.ys, float64(s.published))
	}
	c.series, c.more = []series{staging, judging, unknown}, []series{weight, told}
	return c, nil
}

// stormed is what a storm took.
type stormed struct {
	staging, judging float64 // ms of CPU
	published        int     // events
}

// storm lets devices of a hub be refused within ten minutes, whose certificates are of an issuer.
// It returns what that took, and how many MiB are in memory when a verdict has read all records.
func storm(devices int, issuer string) (took stormed, mib float64, err error) {
	now := time.Date(2026, 2, 1, 10, 11, 0, 0, time.UTC) // in the minute after
	l := newLedger()
	var marks []verdict.Mark
	for first := 0; first < devices; first += recordsOfBatch {
		batch := refusals(first, min(recordsOfBatch, devices-first), issuer)
		before := spent()
		s := relay.Stage(batch, verdict.Defaults(), now)
		took.staging += float64(spent()-before) / 1e6
		marks = s.Marks // the same each time
		if err := l.Stage(context.Background(), s.Rows); err != nil {
			return took, 0, err
		}
	}
	judge := verdict.Judge{Settings: verdict.Defaults(), Store: l, Publisher: l}
	for _, l.weigh = range []bool{false, true} { // and again, as if there had been no verdict
		l.rows, l.etags, l.published = map[verdict.Place]verdict.Row{}, map[verdict.Place]verdict.ETag{}, 0
		if err := l.Mark(context.Background(), marks); err != nil {
			return took, 0, err
		}
		heap, before := inUse(), spent()
		pass, err := judge.Run(context.Background(), now)
		if err == nil && !pass.Again.IsZero() { // more than a few, and not yet a storm: they are told then
			_, err = judge.Run(context.Background(), pass.Again)
		}
		if err != nil {
			return took, 0, err
		}
		if !l.weigh {
			took.judging, took.published = float64(spent()-before)/1e6, l.published
		}
		mib = max(0, l.heaviest-heap) / (1 << 20)
	}
	return took, mib, nil
}

// refusals returns log messages about n devices, from the first on, whose certificates are refused
// in ten minutes. If the hub is their issuer, they do not match. Of others the cause is not known.
func refusals(first, n int, issuer string) (batch [][]byte) {
	hub := strings.ToUpper("/subscriptions/" + subscription + "/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub")
	for n > 0 {
		var records []string
		for range min(n, 100) {
			auth := text(map[string]any{"scope": "device", "type": "x509", "issuer": issuer, "acceptingIpFilterRule": nil})
			properties := fmt.Sprintf(`{"deviceId":"pump-%07d","sdkVersion":".NET/1.21.2 (.NET 8.0)","protocol":"Mqtt","authType":%s,"maskedIpAddress":"203.0.113.XXX","statusCode":"401"}`, first, text(auth))
			records = append(records, fmt.Sprintf(`{"time":"2026-02-01T10:0%d:%02dZ","resourceId":%q,"operationName":"deviceConnect","category":"Connections","level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized","properties":%s,"location":"westeurope"}`,
				first%600/60, first%60, hub, text(properties)))
			first++
			n--
		}
		batch = append(batch, []byte(`{"records":[`+strings.Join(records, ",")+`]}`))
	}
	return batch
}
