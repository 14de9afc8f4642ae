package table

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/version"
	"hubwatch/handlers/window"
)

// Row is the row of an alert. Its columns have the names of the schema
// Microsoft.Security/alerts, if they are in that schema
// (https://learn.microsoft.com/rest/api/defenderforcloud/alerts).
type Row struct {
	key
	particulars

	SystemAlertId    string
	AlertType        string
	AlertDisplayName string
	Severity         string
	RemediationSteps string // a line for each step
	EntityType       string
	Detector         string
	VendorName       string
	ProductName      string
	ProductVersion   string // of the handler that wrote last

	EndTimeUtc         string // of the last occurrence
	LastActorIpAddress string // of the last occurrence
	addresses
	// FirstEvidence is the row key of the evidence with the particulars, if that is a tally:
	// the next version of the tally has others. It is noTally if the alert has tallies, and the
	// particulars are not of one.
	FirstEvidence    string `json:",omitzero"`
	TimeGeneratedUtc string `json:",omitzero"` // when the row was made
	Occurrences      int32  // distinct events
	Corrected        bool   `json:",omitzero"` // late records took some of them back, so Occurrences can be 0
	Course           course `json:",omitzero"` // of tallies, see alert.Course; JSON in a text
	Slots            []byte `json:",omitzero"` // of what was counted, see window.Slots: Occurrences has their breaches
	change
	SuppressedBy string // id of the suppression that all occurrences fall under
}

// key is what every row has.
type key struct {
	PartitionKey string
	RowKey       string
}

// particulars are the columns that can differ between the occurrences of one
// alert. The row shows the particulars of the first occurrence. Of two
// occurrences at the same time, it shows the ones that sort first. So the row
// depends on the events, and not on their order.
type particulars struct {
	StartTimeUtc       string
	Description        string
	Confidence         string
	CompromisedEntity  string
	HubName            string
	ResourceId         string
	SubscriptionId     string
	Actor              string
	ActorIpAddress     string
	CorrelationId      string
	ExtendedProperties string // a JSON object of strings
}

// compare orders particulars by time. Edm.DateTimes of equal length sort as text.
func (p particulars) compare(q particulars) int {
	list := func(p particulars) []string {
		return []string{p.StartTimeUtc, p.Description, p.Confidence, p.CompromisedEntity, p.HubName, p.ResourceId,
			p.SubscriptionId, p.Actor, p.ActorIpAddress, p.CorrelationId, p.ExtendedProperties}
	}
	return slices.Compare(list(p), list(q))
}

// newRow returns the row of an alert whose only occurrence is a.
func newRow(a alert.Occurrence, generated time.Time) Row {
	steps := make([]string, len(a.Remediation))
	for i, step := range a.Remediation {
		steps[i] = fmt.Sprintf("%d. %s", i+1, step)
	}
	at := edmTime(a.Event.Time)
	end, last, addresses := at, a.ActorIPAddress, newAddresses(a.ActorIPAddress)
	if !a.Until.IsZero() {
		end, last, addresses = max(at, edmTime(a.Until)), a.UntilIPAddress, addresses.add(newAddresses(a.UntilIPAddress))
	}
	return Row{
		key: key{partitionKey(a), alertKey(a.ID)},
		particulars: particulars{
			StartTimeUtc:       at,
			Description:        column(a.Message),
			Confidence:         string(a.Confidence),
			CompromisedEntity:  column(a.Entity.Name),
			HubName:            column(a.Hub.Name),
			ResourceId:         column(a.Hub.ResourceID),
			SubscriptionId:     column(a.Hub.SubscriptionID),
			Actor:              column(a.Actor),
			ActorIpAddress:     column(a.ActorIPAddress),
			CorrelationId:      column(a.CorrelationID),
			ExtendedProperties: properties(a.Properties),
		},
		SystemAlertId:      a.ID,
		AlertType:          a.Type,
		AlertDisplayName:   a.DisplayName,
		Severity:           string(a.Severity),
		RemediationSteps:   strings.Join(steps, "\n"),
		EntityType:         string(a.Entity.Type),
		Detector:           a.Detector,
		VendorName:         "hubwatch",
		ProductName:        "hubwatch",
		ProductVersion:     version.Version,
		EndTimeUtc:         end,
		LastActorIpAddress: column(last),
		addresses:          addresses,
		TimeGeneratedUtc:   edmTime(generated),
		Occurrences:        1,
		Course:             newCourse(a.Tally),
		change:             change{Status: string(alert.Active)},
		SuppressedBy:       a.SuppressedBy,
	}
}

// decodeRow reads the row of an alert. Its error names the row and the column.
func decodeRow(entity []byte) (Row, error) {
	var r Row
	if err := decode(entity, &r); err != nil {
		return Row{}, err
	}
	// The service leaves out digits that are zero.
	for _, column := range []struct {
		name  string
		value *string
	}{{"StartTimeUtc", &r.StartTimeUtc}, {"EndTimeUtc", &r.EndTimeUtc}, {"TimeGeneratedUtc", &r.TimeGeneratedUtc}, {"StatusTimeUtc", &r.StatusTimeUtc}} {
		if column.name == "StatusTimeUtc" && *column.value == "" { // nobody has changed the alert
			continue
		}
		t, err := r.time(column.name, *column.value)
		if err != nil {
			return Row{}, err
		}
		*column.value = edmTime(t)
	}
	return r, nil
}

// decode reads the columns of a row that row, a pointer, has. Its error names the
// row and the column.
func decode(entity []byte, row any) error {
	err := json.Unmarshal(entity, row)
	if err == nil {
		return nil
	}
	var k key
	var semantic *json.SemanticError
	if json.Unmarshal(entity, &k) == nil && errors.As(err, &semantic) {
		return k.wrong(strings.TrimPrefix(string(semantic.JSONPointer), "/"), errors.New("the value is of another type"))
	}
	return fmt.Errorf("row: %w", err)
}

// wrong returns the error of a column of the row that cannot be read.
func (k key) wrong(column string, err error) error {
	return fmt.Errorf("row %s %s: column %s: %w", k.PartitionKey, k.RowKey, column, err)
}

// time reads a time from a column of the row.
func (k key) time(column, value string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return time.Time{}, k.wrong(column, err)
	}
	return t.UTC(), nil
}

// alert returns the alert of the row. Its error names the row, and the column
// that somebody has deleted or overwritten.
func (r Row) alert() (alert.Alert, error) {
	for _, column := range []struct {
		name string
		ok   bool
	}{
		{"SystemAlertId", r.RowKey == alertKey(r.SystemAlertId)},
		{"AlertType", r.AlertType != ""},
		{"Severity", alert.Severity(r.Severity).Valid()},
		{"HubName", r.HubName != ""},
		{"Status", r.Status != ""},
		{"Occurrences", r.Occurrences > 0 || r.Occurrences == 0 && r.Corrected},
	} {
		if !column.ok {
			return alert.Alert{}, r.wrong(column.name, errors.New("missing, or not what it was"))
		}
	}
	a := alert.Alert{
		ID:          r.SystemAlertId,
		Detector:    r.Detector,
		Type:        r.AlertType,
		DisplayName: r.AlertDisplayName,
		Severity:    alert.Severity(r.Severity),
		Remediation: r.RemediationSteps,
		Finding: alert.Finding{
			Hub:            alert.Hub{Name: r.HubName, ResourceID: r.ResourceId, SubscriptionID: r.SubscriptionId},
			Entity:         alert.Entity{Type: alert.EntityType(r.EntityType), Name: r.CompromisedEntity},
			Actor:          r.Actor,
			ActorIPAddress: r.ActorIpAddress,
			CorrelationID:  r.CorrelationId,
			Message:        r.Description,
			Confidence:     alert.Confidence(r.Confidence),
			Properties:     parseProperties("ExtendedProperties", r.ExtendedProperties),
		},
		LastActorIPAddress:   r.LastActorIpAddress,
		ActorIPAddresses:     r.addresses.list(),
		MoreActorIPAddresses: r.MoreActorIpAddresses,
		Status:               r.status(),
		Occurrences:          int(r.Occurrences),
		Course:               alert.Course(r.Course),
		Changes:              int(r.Changes),
		StatusReason:         r.StatusReason,
		StatusBy:             alert.Person{Name: r.StatusBy, ObjectID: r.StatusByObjectId},
		Verdict:              alert.Verdict(r.Verdict),
		SuppressedBy:         r.SuppressedBy,
	}
	a.Message += a.Course.Sentences(a.Occurrences)
	for name, value := range a.Course.Properties() {
		if a.Properties == nil {
			a.Properties = map[string]string{}
		}
		a.Properties[name] = value
	}
	var err error
	if a.Start, err = r.time("StartTimeUtc", r.StartTimeUtc); err != nil {
		return alert.Alert{}, err
	}
	if a.End, err = r.time("EndTimeUtc", r.EndTimeUtc); err != nil {
		return alert.Alert{}, err
	}
	if a.Generated, err = r.time("TimeGeneratedUtc", r.TimeGeneratedUtc); err != nil {
		return alert.Alert{}, err
	}
	if r.StatusTimeUtc != "" {
		if a.StatusTime, err = r.time("StatusTimeUtc", r.StatusTimeUtc); err != nil {
			return alert.Alert{}, err
		}
	}
	return a, nil
}

// course is an alert.Course in a column. What somebody has written there instead is nil.
type course alert.Course

// newCourse returns the column of one tally, also of one of 0.
func newCourse(t alert.Tally) course {
	if t.What == "" {
		return nil
	}
	return course{t.What: {t.From.UTC().Format("15:04"): t.N}}
}

func (c course) with(more course) course { return course(alert.Course(c).With(alert.Course(more))) }

func (c course) MarshalText() ([]byte, error) {
	return json.Marshal(alert.Course(c), json.Deterministic(true))
}

func (c *course) UnmarshalText(b []byte) error {
	if json.Unmarshal(b, (*alert.Course)(c), lenient) != nil {
		*c = nil
	}
	return nil
}

// viaHandler is the Via of a change that an occurrence made. by is its By.
const (
	viaHandler = "handler"
	byHandler  = "hubwatch"
)

// status returns the status of the row, as alert.Status has it if it is one of them.
func (r Row) status() alert.Status {
	if known, err := alert.ParseStatus(r.Status); err == nil {
		return known
	}
	return alert.Status(r.Status)
}

// reopens reports whether the occurrences of more, which is a row of the same alert,
// make r Active again: r is closed or suppressed, and not all of more is suppressed.
func (r Row) reopens(more Row) bool {
	return more.SuppressedBy == "" && (r.status().Closed() || r.SuppressedBy != "")
}

// add returns the row of the occurrences of r and of more, which are rows of the
// same alert. If more reopens r, this is a change of the alert by hubwatch, without
// its time. Otherwise the columns that people change stay.
func (r Row) add(more Row) Row {
	sum := more
	sum.Occurrences += r.Occurrences
	sum.Corrected = r.Corrected
	sum.Course = r.Course.with(more.Course)
	if last := strings.Compare(r.EndTimeUtc, more.EndTimeUtc); last > 0 || last == 0 && r.LastActorIpAddress > more.LastActorIpAddress {
		sum.EndTimeUtc, sum.LastActorIpAddress = r.EndTimeUtc, r.LastActorIpAddress
	}
	sum.addresses = r.addresses.add(more.addresses)
	sum.TimeGeneratedUtc = r.TimeGeneratedUtc
	if r.shownBefore(more) {
		sum.particulars, sum.FirstEvidence = r.particulars, r.FirstEvidence
	}
	if sum.FirstEvidence == "" && (r.FirstEvidence != "" || more.FirstEvidence != "") {
		sum.FirstEvidence = noTally // A merge does not take a column away.
	}
	sum.change = r.change
	if r.reopens(more) {
		sum.Changes++
		sum.StatusBy, sum.StatusByObjectId, sum.StatusReason = byHandler, "", "it happened again"
		if !r.status().Closed() {
			sum.StatusReason = "it happened outside of suppression " + r.SuppressedBy
		} else {
			sum.Status = string(alert.Active)
		}
	}
	if sum.SuppressedBy = r.SuppressedBy; more.SuppressedBy == "" {
		sum.SuppressedBy = ""
	}
	return sum
}

const noTally = "none"

// shownBefore reports whether an alert of the occurrences of r and of more shows the
// particulars of r. Versions of a tally do not come in order, so of two tallies their keys
// decide, and of two versions of one tally the one that comes later is the newer.
func (r Row) shownBefore(more Row) bool {
	if r.FirstEvidence == "" || more.FirstEvidence == "" || r.FirstEvidence == noTally {
		return r.compare(more.particulars) < 0
	}
	return r.FirstEvidence != more.FirstEvidence &&
		cmp.Or(strings.Compare(r.StartTimeUtc, more.StartTimeUtc), strings.Compare(r.FirstEvidence, more.FirstEvidence)) < 0
}

// The types of the columns that JSON alone does not tell.
const (
	edmDateTime = "Edm.DateTime"
	edmBinary   = "Edm.Binary"
	edmInt64    = "Edm.Int64"
)

// entity returns the row as the service takes it. Types that JSON does not have
// are in members of their own. The SDK's EDMEntity would add these members, but
// it doubles the apostrophes of keys (aztables v1.4.1, entity.go).
func (r Row) entity() ([]byte, error) {
	return json.Marshal(struct {
		Row
		StartType string `json:"StartTimeUtc@odata.type"`
		EndType   string `json:"EndTimeUtc@odata.type"`
		MadeType  string `json:"TimeGeneratedUtc@odata.type,omitzero"`
		SetType   string `json:"StatusTimeUtc@odata.type,omitzero"`
		SlotsType string `json:"Slots@odata.type,omitzero"`
	}{r, edmDateTime, edmDateTime, edmDateTime, typeOf(r.StatusTimeUtc), binaryType(r.Slots)})
}

// binaryType returns the type of a binary column, or "" if it is empty and left out.
func binaryType(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return edmBinary
}

// evidence is the row of one occurrence. It has neither AlertType nor Severity,
// so that a reader who filters on those sees alerts only.
type evidence struct {
	key
	SystemAlertId  string
	EventId        string
	EventTimeUtc   string
	EventTimeType  string `json:"EventTimeUtc@odata.type"`
	Actor          string
	ActorIpAddress string
	CorrelationId  string
	Properties     string // a JSON object of strings
	RawEvent       string // JSON, without secrets, its longest strings cut if it is very long
	RawEventSha256 string // of the event as it was delivered, in hexadecimal
	Devices        []byte `json:",omitzero"` // see packDevices
	DevicesType    string `json:"Devices@odata.type,omitzero"`
	Proof          []byte `json:",omitzero"` // the events that were counted, see window.Proof; RawEvent is empty then
	ProofType      string `json:"Proof@odata.type,omitzero"`
	Lows           []byte `json:",omitzero"` // at which windows breaches begin, see window.Lows; Count is how many
	LowsType       string `json:"Lows@odata.type,omitzero"`
	Raised         *int32 `json:",omitzero"` // the number of the newest raising of the alert that this occurrence made, see alert.Raising
	tally
}

// tally are the columns of evidence that is a tally, see alert.Tally. Other rows have none of
// them.
type tally struct {
	Seq   int32 `json:",omitzero"`
	Count int32 `json:",omitzero"`
}

func newEvidence(a alert.Occurrence) evidence {
	e := evidence{
		key:            key{partitionKey(a), evidenceKey(a)},
		SystemAlertId:  a.ID,
		EventId:        column(a.Event.ID),
		EventTimeUtc:   edmTime(a.Event.Time),
		EventTimeType:  edmDateTime,
		Actor:          column(a.Actor),
		ActorIpAddress: column(a.ActorIPAddress),
		CorrelationId:  column(a.CorrelationID),
		Properties:     properties(a.Properties),
		RawEvent:       jsonColumn(secret.Document(a.Event.Raw, event.Named)),
		RawEventSha256: sha256Hex(a.Event.Raw),
		tally:          tally{int32(a.Tally.Seq), int32(a.Tally.N)}, // #nosec G115 -- the records of ten minutes, and their derivations
	}
	if len(a.Devices) > 0 {
		e.Devices, e.DevicesType = packDevices(a.Devices), edmBinary
	}
	return e
}

// packDevices returns a list of devices as a column: deflated JSON. A list that is too long
// for one is cut.
func packDevices(devices []string) []byte {
	for {
		list, _ := json.Marshal(devices, lenient) // a list of strings
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.BestCompression) // there is such a level
		_, _ = w.Write(list)                               // into memory
		_ = w.Close()
		if b.Len() <= maxBinary {
			return b.Bytes()
		}
		devices = devices[:len(devices)/2]
	}
}

// mostDevices is how many bytes a list of devices has at most before it is deflated. A row
// that somebody made can say anything.
const mostDevices = 4 << 20

func unpackDevices(b []byte) (devices []string, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	list, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), mostDevices))
	if err == nil {
		err = json.Unmarshal(list, &devices, lenient)
	}
	return devices, err
}

// unpackProof returns the events of a proof, the earliest first.
func unpackProof(b []byte) (counted []alert.CountedEvent, err error) {
	p, err := window.UnpackProof(b)
	for _, e := range p {
		counted = append(counted, alert.CountedEvent{Time: e.At(), Hash: hex.EncodeToString(e.Hash[:])})
	}
	return counted, err
}

// decodeEvidence reads a row of evidence. Its error names the row and the column.
func decodeEvidence(entity []byte) (alert.Evidence, error) {
	var e evidence
	if err := decode(entity, &e); err != nil {
		return alert.Evidence{}, err
	}
	at, err := e.time("EventTimeUtc", e.EventTimeUtc)
	if err != nil {
		return alert.Evidence{}, err
	}
	devices, err := unpackDevices(e.Devices)
	if err != nil {
		return alert.Evidence{}, e.wrong("Devices", err)
	}
	counted, err := unpackProof(e.Proof)
	if err != nil {
		return alert.Evidence{}, e.wrong("Proof", err)
	}
	return alert.Evidence{
		EventID:        e.EventId,
		Time:           at,
		Actor:          e.Actor,
		ActorIPAddress: e.ActorIpAddress,
		CorrelationID:  e.CorrelationId,
		Properties:     parseProperties("Properties", e.Properties),
		RawEvent:       e.RawEvent,
		RawEventSHA256: e.RawEventSha256,
		Tally:          alert.Tally{N: int(e.Count), Seq: int(e.Seq)},
		Devices:        devices,
		Counted:        counted,
	}, nil
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// parseProperties reads what properties wrote into a column. A text that is not a
// JSON object of strings comes back whole, as the property with the name of the
// column.
func parseProperties(column, text string) map[string]string {
	if text == "" {
		return nil
	}
	var p map[string]string
	if err := json.Unmarshal([]byte(text), &p, lenient); err != nil {
		return map[string]string{column: text}
	}
	return p
}
