package verdict

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
)

// Types of the events that tell of items. The type says the cause, so that Event Grid
// delivers each event to the one detector of its cause.
const (
	TokenExpiredType       = typePrefix + "token-expired"
	TokenInvalidType       = typePrefix + "token-invalid"
	CertificateExpiredType = typePrefix + "certificate-expired"
	ThumbprintMismatchType = typePrefix + "thumbprint-mismatch"
	ForeignType            = typePrefix + "foreign"
	MissingType            = typePrefix + "missing"
	StormType              = typePrefix + "storm"
	SurgeType              = typePrefix + "surge"

	typePrefix = "hubwatch.iothub.connection."
)

// typesOf are the types of the events of devices. No detector looks for Unclassified, so
// it has no type, and its items are published only if they are a storm.
var typesOf = map[Cause]string{
	Cause(connection.TokenExpired):       TokenExpiredType,
	Cause(connection.TokenInvalid):       TokenInvalidType,
	Cause(connection.CertificateExpired): CertificateExpiredType,
	Cause(connection.ThumbprintMismatch): ThumbprintMismatchType,
	Foreign:                              ForeignType,
	Missing:                              MissingType,
}

// EventTypes are the types of all events of connections: those of items, and
// connection.Failed, which is about one record.
var EventTypes = []string{
	connection.Failed,
	TokenExpiredType, TokenInvalidType, CertificateExpiredType, ThumbprintMismatchType, ForeignType, MissingType, StormType, SurgeType,
}

// EventType returns the type of the events that tell of the item; "" if it is not told.
func (i Item) EventType() string {
	switch {
	case i.Cause == Reconnected:
		return SurgeType
	case i.Storm():
		return StormType
	}
	return i.Cause.EventType()
}

// EventType returns the type of the events about single devices that have this cause; ""
// if there are none.
func (c Cause) EventType() string { return typesOf[c] }

// data is the data of an event that tells of an item.
type data struct {
	Bucket  time.Time        `json:"bucket"` // when its ten minutes begin
	Cause   Cause            `json:"cause"`
	N       int              `json:"n"`
	Seq     int              `json:"seq"`
	Records []jsontext.Value `json:"records,omitempty"`
	Devices []string         `json:"devices,omitempty"`
}

// Event returns the CloudEvent that tells of the notice
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
// The same notice gives the same id. Its source is the hub, its subject is the device, and
// its time is that of the earliest record. A surge has no records, so its time is the beginning
// of its bucket. Its error says what is wrong with the notice.
func (n Notice) Event() (jsontext.Value, error) {
	source, subject, at := n.HubID, "devices", n.Bucket.Start()
	switch {
	case n.Cause == Reconnected && source == "":
		return nil, n.wrong(errors.New("the resource id of the hub is not known"))
	case n.Cause == Reconnected:
	case len(n.Records) == 0:
		return nil, n.wrong(errors.New("it has no records"))
	default:
		r, err := connection.DecodeRecord(n.Records[0])
		if err != nil {
			return nil, n.wrong(err)
		}
		if source, at = r.ResourceID, r.Time; !n.Storm() {
			subject = r.Subject()
		}
	}
	b, err := json.Marshal(struct {
		SpecVersion string    `json:"specversion"`
		ID          string    `json:"id"`
		Type        string    `json:"type"`
		Source      string    `json:"source"`
		Subject     string    `json:"subject"`
		Time        time.Time `json:"time"`
		ContentType string    `json:"datacontenttype"`
		Data        data      `json:"data"`
	}{
		"1.0", n.id(), n.EventType(), source, subject, at, "application/json",
		data{n.Bucket.Start(), n.Cause, n.N, n.Seq, n.Records, n.Devices},
	}, event.Lenient)
	if err != nil {
		return nil, n.wrong(err)
	}
	return b, nil
}

func (n Notice) wrong(err error) error {
	return fmt.Errorf("notice of %q on %s, %s: %w", n.Cause, n.Hub, n.Bucket.Start().Format(time.RFC3339), err)
}

// id returns the id of the event of the notice: a hash of what makes it different from all
// others of its hub.
func (n Notice) id() string {
	h := sha256.New()
	for _, part := range []string{n.Hub, string(n.Cause), string(n.Device[:])} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(n.Bucket))) // #nosec G115 -- after 1970
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(n.Seq)))    // #nosec G115 -- counts derivations
	return hex.EncodeToString(h.Sum(nil))
}

// ParseEvent reads an event that Notice.Event made, and returns also the hub and the records
// that it tells of. A surge has no records. Its error names the member that is
// missing or wrong, or says that the records and the rest of the event contradict each
// other: another version of hubwatch may have made the event.
//
// Whoever publishes to the topic says what stands in the event, so the item is computed
// from the records, and what they cannot tell has to fit.
func ParseEvent(e event.Event) (n Notice, hub event.ResourceID, records []connection.Record, err error) {
	var d data
	if err := json.Unmarshal(e.Data, &d, event.Lenient); err != nil {
		return n, hub, nil, fmt.Errorf("data: %w", event.JSONError(err))
	}
	n = Notice{Place: Place{Bucket: BucketOf(d.Bucket)}, Item: Item{Cause: d.Cause}, Version: Version{d.N, d.Seq}, Records: d.Records, Devices: d.Devices}
	storm, surge := strings.EqualFold(e.Type, StormType), strings.EqualFold(e.Type, SurgeType)
	switch {
	case surge != (d.Cause == Reconnected):
		return n, hub, nil, fmt.Errorf("data: cause: %q is not that of the type %s", event.Shorten(string(d.Cause)), event.Shorten(e.Type))
	case len(d.Records) == 0 && !surge:
		return n, hub, nil, errors.New("data: records: missing or empty")
	case d.N < 0:
		return n, hub, nil, fmt.Errorf("data: n: want 0 or more, have %d", d.N)
	case d.Seq < 1:
		return n, hub, nil, fmt.Errorf("data: seq: want 1 or more, have %d", d.Seq)
	case !storm && !surge && !strings.EqualFold(typesOf[d.Cause], e.Type):
		return n, hub, nil, fmt.Errorf("data: cause: %q is not that of the type %s", event.Shorten(string(d.Cause)), event.Shorten(e.Type))
	}
	if surge {
		hub, err := connection.Record{ResourceID: e.Source}.Hub()
		if err != nil {
			return n, hub, nil, fmt.Errorf("source: %w", err)
		}
		n.Hub, n.HubID = strings.ToLower(hub.Name), e.Source
		return n, hub, nil, nil
	}
	records = make([]connection.Record, len(d.Records))
	for i, raw := range d.Records {
		r, on, err := n.record(raw)
		if err != nil {
			return n, hub, nil, fmt.Errorf("data: records[%d]: %w", i, err)
		}
		records[i] = r
		if i == 0 {
			hub, n.Hub = on, strings.ToLower(on.Name)
			if !storm {
				n.Device = r.DeviceKey()
			}
		}
		if strings.ToLower(on.Name) != n.Hub || !storm && r.DeviceKey() != n.Device {
			return n, hub, nil, fmt.Errorf("data: records[%d]: is not of the hub and device of records[0]", i)
		}
	}
	return n, hub, records, nil
}

// record reads a record of the item, and returns its hub.
func (n Notice) record(raw jsontext.Value) (r connection.Record, hub event.ResourceID, err error) {
	if r, err = connection.DecodeRecord(raw); err != nil {
		return r, hub, err
	}
	if hub, err = r.Hub(); err != nil {
		return r, hub, err
	}
	return r, hub, n.fits(r)
}

// fits returns an error if r cannot be a record of the item.
func (n Notice) fits(r connection.Record) error {
	if BucketOf(r.Time) != n.Bucket {
		return fmt.Errorf("record: time %s: is not in the ten minutes from %s", r.Time.Format(time.RFC3339), n.Bucket.Start().Format(time.RFC3339))
	}
	c := connection.Classify(r)
	var told Cause
	switch r.Sign(c) {
	case connection.Refused:
		told = Cause(c.Cause)
	case connection.Expiry:
		if n.Cause == Foreign || n.Cause == Missing {
			return nil
		}
		told = "a session that ended because its token had expired"
	default:
		told = Cause(c.PassedOver)
	}
	if told != n.Cause {
		return fmt.Errorf("record: it tells of %q, and the event of %q: two versions of hubwatch judge it differently", told, n.Cause)
	}
	return nil
}
