// Package connection reads the records of the log category Connections of an IoT
// hub, and says of each why a connection failed.
package connection

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/event"
	"hubwatch/handlers/scan"
)

// Record is one entry of the log category Connections of an IoT hub
// (https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#connections).
// The documented template does not say which members an entry of a failed login
// has, and Microsoft's samples differ from it and from each other, so every
// member is taken in each form that was seen.
type Record struct {
	Time              time.Time // when it happened, UTC; whole seconds in all known samples
	ResourceID        string    // of the hub, as spelled, which is in upper case; may be empty
	Category          string    // as spelled; compare regardless of case; "" for a metric
	OperationName     string    // deviceConnect or deviceDisconnect; compare regardless of case
	Level             string    // Information, Warning or Error; may be empty
	ResultType        string    // an error code of six digits in all known samples; "" for success
	ResultDescription string    // the error's name in all known samples; may be empty
	StatusCode        string    // an HTTP status; may be empty
	DeviceID          string    // as the client gave it; may be empty
	ModuleID          string    // as the client gave it; "" for a device
	SDKVersion        string    // as the client gave it; may be empty
	Protocol          string    // Mqtt, Amqp, Https and so on; may be empty
	MaskedIPAddress   string    // of the client, without its last part: 203.0.113.XXX; may be empty
	AuthType          AuthType
	// Texts are what the service itself says of the result: the description and
	// the messages, without any member that a client has a say in.
	Texts []string
	// Unreadable names the members that are there but could not be read, so that
	// a change of schema is seen.
	Unreadable []string
}

// AuthType is how a client authenticated itself, or tried to. All of it is empty
// if the record does not say.
type AuthType struct {
	Scope  string // device, module or hub
	Type   string // sas, symkey or x509
	Issuer string // iothub, or external for a certificate authority
}

// Family is the kind of credential that an AuthType stands for.
type Family int

// A credential is a shared access signature, or an X.509 certificate, or it is
// not known which.
const (
	UnknownFamily Family = iota
	TokenFamily
	CertificateFamily
)

// Family returns the kind of credential. The types are those of the message
// property iothub-connection-auth-method
// (https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-construct).
// Hubs write x509Certificate there as well.
func (a AuthType) Family() Family {
	switch {
	case strings.EqualFold(a.Type, "sas"), strings.EqualFold(a.Type, "symkey"):
		return TokenFamily
	case strings.EqualFold(a.Type, "x509"), strings.EqualFold(a.Type, "x509Certificate"):
		return CertificateFamily
	}
	return UnknownFamily
}

// SignedByAuthority reports whether a certificate authority signed the client's
// certificate. The hub then has the certificate of the authority and no thumbprint of
// the client's (https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-x509).
func (a AuthType) SignedByAuthority() bool { return strings.EqualFold(a.Issuer, "external") }

// Category is the log category that records are read of, as event.LogCategories spells it.
const Category = "Connections"

// member is a member whose form varies: a string, or a number that becomes the
// string of its digits. null is "".
type member struct {
	text string
	odd  bool // it has another form
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (m *member) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	switch d.PeekKind() {
	case '"', '0':
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		m.text = token.String()
		return nil
	case 'n':
	default:
		m.odd = true
	}
	return d.SkipValue()
}

// nested is a member that is an object, or a string that holds one, or a plain
// word. null is nil.
type nested []byte

// lenient reads records by reflection.
var lenient = json.JoinOptions(event.Lenient, json.WithUnmarshalers(json.UnmarshalFromFunc(readNested)))

// readNested reads a nested member.
func readNested(d *jsontext.Decoder, n *nested) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	switch value.Kind() {
	case 'n':
	case '"':
		// An error says that some characters are not Unicode; they are replaced.
		*n, _ = jsontext.AppendUnquote([]byte(nil), value)
	default:
		*n = nested(value.Clone())
	}
	return nil
}

// client is what a record says of the client. It stands in properties today and
// stood in the record itself in the format of 2018
// (https://github.com/MicrosoftDocs/azure-docs, articles/iot-hub/iot-hub-operations-monitoring.md).
type client struct {
	DeviceID           member `json:"deviceId"`
	ModuleID           member `json:"moduleId"`
	SDKVersion         member `json:"sdkVersion"`
	Protocol           member `json:"protocol"`
	MaskedIPAddress    member `json:"maskedIpAddress"`
	AuthType           nested `json:"authType"`
	AuthenticationType nested `json:"authenticationType"` // its name in the category D2CTwinOperations
	StatusCode         member `json:"statusCode"`
	StatusType         member `json:"statusType"`
	StatusDescription  member `json:"statusDescription"`
}

// row has the columns of a record in Log Analytics: in the table AzureDiagnostics, or
// in AzureMetrics for a metric. A rule that exports these tables to an event hub
// writes rows where a diagnostic setting writes records
// (https://learn.microsoft.com/azure/azure-monitor/reference/tables/azurediagnostics,
// https://github.com/elastic/integrations/issues/15083). Each column is one member of
// the record under another name, so a row is read as the record that it was.
type row struct {
	TimeGenerated     member `json:"TimeGenerated"`
	ResourceID        member `json:"_ResourceId"`
	ResourceIDColumn  member `json:"ResourceId"`
	OperationName     member `json:"OperationName"`
	Category          string `json:"Category"`
	MetricName        member `json:"MetricName"`
	Level             member `json:"Level"`
	ResultType        member `json:"ResultType"`
	ResultDescription member `json:"ResultDescription"`
	Properties        nested `json:"properties_s"`
}

// properties are the members of a record's properties that say something.
type properties = struct {
	client
	ErrorMessage member `json:"errorMessage"`
	Message      member `json:"message"`
	Details      member `json:"details"`
}

// document has the members of a record.
type document = struct {
	client
	row
	Time              member `json:"time"`
	ResourceID        member `json:"resourceId"`
	OperationName     member `json:"operationName"`
	Category          string `json:"category"`
	MetricName        member `json:"metricName"`
	Level             member `json:"level"`
	ResultType        member `json:"resultType"`
	ResultDescription member `json:"resultDescription"`
	Properties        nested `json:"properties"`
}

// DecodeRecord reads a resource-log record, or a row that Log Analytics made of one.
// A metric has no category. Of a metric, and of a record of another category than
// Connections, DecodeRecord reads category and operation only. The error says what is
// missing or wrong, and means that no later attempt can do better.
func DecodeRecord(raw jsontext.Value) (Record, error) {
	d := givers.Get().(*Decoder)
	defer givers.Put(d)
	defer d.Forget()
	r, err := d.Decode(raw.Clone())
	// The record goes with the memory of which its texts are parts.
	r.Texts, d.texts, d.auth.raw = slices.Clone(r.Texts), [2][]byte{}, nil
	return r, err
}

// givers are decoders that give away the texts of what they read.
var givers = sync.Pool{New: func() any { return new(Decoder) }}

// Decoder reads many records, one after the other, without copies. The zero value is
// ready for use.
type Decoder struct {
	outer, inner, word scan.Doc // word is authType
	doc                document
	properties         properties
	texts              [2][]byte  // properties, and the authType in them, without their escapes
	list               [6]string  // the Texts
	held, inside       scan.Value // the string that has the properties, and the same once inner is its document
	// What was read last. Nearly all devices have the same authType, and many records are of
	// the same second.
	auth struct {
		raw []byte
		AuthType
		ok bool
	}
	stamp struct {
		raw []byte
		time.Time
	}
}

// mostKept is of how many bytes of a text a decoder keeps the memory that is used again.
const mostKept = 16 << 10

// mostValues is how many values a record has at most that is read in one pass.
const mostValues = 1000

// Decode is DecodeRecord. The texts of the record are parts of raw and of the decoder:
// they are good until raw changes or the decoder reads the next record.
func (d *Decoder) Decode(raw jsontext.Value) (Record, error) {
	if d.outer.Scan(raw, "", mostValues) {
		return d.DecodeScanned(d.outer.Root())
	}
	return d.decode(raw)
}

// DecodeScanned is Decode of a text that was scanned already. It saves a pass over the
// text. The texts of the record are good until the values of the text are not, or the
// decoder reads the next record.
func (d *Decoder) DecodeScanned(v scan.Value) (Record, error) {
	d.reset()
	if v.Kind() != '{' || !d.take(v) {
		return d.decode(v.Raw())
	}
	return d.record()
}

// reset forgets the record before.
func (d *Decoder) reset() {
	d.doc, d.properties, d.held, d.inside = document{}, properties{}, scan.Value{}, scan.Value{}
}

// Forget lets go of the record before, of the text that it was read from, and of memory
// that few records need.
func (d *Decoder) Forget() {
	d.reset()
	d.outer.Forget(mostValues)
	d.inner.Forget(mostValues)
	d.list = [6]string{}
	for i := range d.texts {
		if cap(d.texts[i]) > mostKept {
			d.texts[i] = nil
		}
	}
	if cap(d.auth.raw) > mostKept {
		*d = Decoder{}
	}
}

// Inside returns the document that the text of v is, if v is the properties of the record
// that was read last: the decoder has scanned it. It is a secret.Inside.
func (d *Decoder) Inside(v scan.Value) scan.Value {
	if v == (scan.Value{}) || v != d.inside {
		return scan.Value{}
	}
	return d.inner.Root()
}

// decode is Decode by the JSON package, which reads what is unusual and says what is wrong.
func (d *Decoder) decode(raw jsontext.Value) (Record, error) {
	d.reset()
	if err := wantObject(raw); err != nil {
		return Record{}, err
	}
	if err := json.Unmarshal(raw, &d.doc, lenient); err != nil {
		return Record{}, fmt.Errorf("record: %w", event.JSONError(err))
	}
	return d.record()
}

// record makes a record of the document that was read.
func (d *Decoder) record() (Record, error) {
	v, p := &d.doc, &d.properties
	if v.Category != "" {
		v.row = row{} // A record does not need the columns of a row.
	}
	r := Record{
		Category:      cmp.Or(v.Category, v.row.Category),
		OperationName: cmp.Or(v.OperationName.text, v.row.OperationName.text),
	}
	if r.Category == "" && v.MetricName.text == "" && v.row.MetricName.text == "" {
		if v.TimeGenerated.text != "" {
			return Record{}, errors.New("record: a row of Log Analytics without Category is not of a resource log")
		}
		return Record{}, errors.New("record: category: missing or empty")
	}
	if !strings.EqualFold(r.Category, Category) {
		return r, nil
	}
	stamp, err := d.sameTime(strings.TrimSpace(cmp.Or(v.Time.text, v.TimeGenerated.text))) // the documented template begins with a space
	if err != nil {
		return Record{}, fmt.Errorf("record: time: %w", err)
	}
	inside := v.Properties
	if len(inside) == 0 {
		inside = v.row.Properties
	}
	if len(inside) > 0 && d.scanProperties(inside) {
		d.inside = d.held
	} else if len(inside) > 0 {
		*p = properties{}
		if err := json.Unmarshal(inside, p, lenient); err != nil {
			return Record{}, fmt.Errorf("record: properties: %w", event.JSONError(err))
		}
	}

	// Of several members, the first that is not empty counts. Each is checked for
	// another form.
	read := func(name string, members ...*member) (text string) {
		for _, m := range members {
			if m.odd {
				r.Unreadable = append(r.Unreadable, name)
			}
			if text == "" {
				text = m.text
			}
		}
		return text
	}
	r.Time = stamp
	r.ResourceID = read("resourceId", &v.ResourceID, &v.row.ResourceID, &v.ResourceIDColumn)
	r.Level = read("level", &v.Level, &v.row.Level)
	r.ResultType = read("resultType", &v.ResultType, &v.row.ResultType, &v.StatusType, &p.StatusType)
	r.ResultDescription = read("resultDescription", &v.ResultDescription, &v.row.ResultDescription)
	r.StatusCode = read("statusCode", &p.StatusCode, &v.StatusCode)
	r.DeviceID = read("deviceId", &p.DeviceID, &v.DeviceID)
	r.ModuleID = read("moduleId", &p.ModuleID, &v.ModuleID)
	r.SDKVersion = read("sdkVersion", &p.SDKVersion, &v.SDKVersion)
	r.Protocol = read("protocol", &p.Protocol, &v.Protocol)
	r.MaskedIPAddress = read("maskedIpAddress", &p.MaskedIPAddress, &v.MaskedIPAddress)
	for _, auth := range [...]nested{p.AuthType, p.AuthenticationType, v.AuthType, v.AuthenticationType} {
		if len(auth) > 0 {
			var ok bool
			if r.AuthType, ok = d.sameAuthType(auth); !ok {
				r.Unreadable = append(r.Unreadable, "authType")
			}
			break
		}
	}
	texts := d.list[:0]
	for _, text := range [...]string{
		r.ResultDescription,
		read("statusDescription", &v.StatusDescription),
		read("properties.errorMessage", &p.ErrorMessage),
		read("properties.message", &p.Message),
		read("properties.details", &p.Details),
		read("properties.statusDescription", &p.StatusDescription),
	} {
		if text != "" {
			texts = append(texts, text)
			r.Texts = texts
		}
	}
	return r, nil
}

// sameTime is event.ParseTime. It remembers the time that it returned last.
func (d *Decoder) sameTime(text string) (time.Time, error) {
	if text != string(d.stamp.raw) || text == "" {
		t, err := event.ParseTime(text)
		if err != nil {
			return t, err
		}
		d.stamp.raw, d.stamp.Time = append(d.stamp.raw[:0], text...), t
	}
	return d.stamp.Time, nil
}

// sameAuthType is authType. It remembers what it returned last.
func (d *Decoder) sameAuthType(raw []byte) (AuthType, bool) {
	if last := &d.auth; !bytes.Equal(raw, last.raw) {
		last.raw = append(last.raw[:0], raw...)
		last.AuthType, last.ok = d.authType(last.raw)
	}
	return d.auth.AuthType, d.auth.ok
}

// authType reads an object, or a word that is a type by itself. It returns false if raw
// is neither.
func (d *Decoder) authType(raw []byte) (AuthType, bool) {
	if jsontext.Value(raw).Kind() != '{' {
		if a := (AuthType{Type: string(raw)}); a.Family() != UnknownFamily {
			return a, true
		}
		return AuthType{}, false
	}
	var v struct {
		Scope  member `json:"scope"`
		Type   member `json:"type"`
		Issuer member `json:"issuer"`
	}
	if d.word.Scan(raw, "", mostValues) {
		for m := d.word.Root().First(); m != (scan.Value{}); m = m.Next() {
			switch m.Name() {
			case "scope":
				v.Scope.take(m)
			case "type":
				v.Type.take(m)
			case "issuer":
				v.Issuer.take(m)
			}
		}
	} else if err := json.Unmarshal(raw, &v, lenient); err != nil {
		return AuthType{}, false
	}
	return AuthType{Scope: v.Scope.text, Type: v.Type.text, Issuer: v.Issuer.text}, true
}

// Hub returns the IoT hub that the record is of. Its error says what is wrong
// with the record's resource id.
func (r Record) Hub() (event.ResourceID, error) {
	id, err := event.ParseResourceID(r.ResourceID)
	if err != nil {
		return id, fmt.Errorf("record: %w", event.JSONError(err))
	}
	if !id.OnHub() {
		return id, fmt.Errorf("record: resource id %q: %s is not an IoT hub", event.Shorten(r.ResourceID), event.Shorten(id.Type))
	}
	return id, nil
}

// Subject returns what the record is about, in the words of IoT Hub's own events:
// devices/<device id>, with /modules/<module id> behind it for a module
// (https://learn.microsoft.com/azure/event-grid/event-schema-iot-hub). Ids stand
// in it as they are. It is devices alone if the record names no device.
func (r Record) Subject() string {
	switch {
	case r.DeviceID == "":
		return "devices"
	case r.ModuleID == "":
		return "devices/" + r.DeviceID
	}
	return "devices/" + r.DeviceID + "/modules/" + r.ModuleID
}
