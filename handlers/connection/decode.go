package connection

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// scan reads raw in one pass. It returns false for what is not usual, which
// json.Unmarshal has to read, or refuse.
func (d *Decoder) scan(raw jsontext.Value) bool {
	if !d.outer.Scan(raw, "", mostValues) || d.outer.Root().Kind() != '{' {
		return false
	}
	v := &d.doc
	for m := d.outer.Root().First(); m.Raw() != nil; m = m.Next() {
		switch name := m.Name(); name {
		case "time":
			v.Time.take(m)
		case "resourceId":
			v.ResourceID.take(m)
		case "operationName":
			v.OperationName.take(m)
		case "category", "Category":
			if m.Kind() != '"' {
				return false
			}
			if name == "category" {
				v.Category = m.Text()
			} else {
				v.row.Category = m.Text()
			}
		case "metricName":
			v.MetricName.take(m)
		case "level":
			v.Level.take(m)
		case "resultType":
			v.ResultType.take(m)
		case "resultDescription":
			v.ResultDescription.take(m)
		case "properties":
			v.Properties.take(m, &d.texts[0])
		case "TimeGenerated", "_ResourceId", "ResourceId", "OperationName", "MetricName", "Level", "ResultType", "ResultDescription", "properties_s":
			return false // a row of Log Analytics
		default:
			v.client.take(name, m, nil)
		}
	}
	return true
}

// scanProperties is scan for the properties of a record.
func (d *Decoder) scanProperties(raw []byte) bool {
	if !d.inner.Scan(raw, "", mostValues) || d.inner.Root().Kind() != '{' {
		return false
	}
	p := &d.properties
	for m := d.inner.Root().First(); m.Raw() != nil; m = m.Next() {
		switch name := m.Name(); name {
		case "errorMessage":
			p.ErrorMessage.take(m)
		case "message":
			p.Message.take(m)
		case "details":
			p.Details.take(m)
		default:
			p.client.take(name, m, &d.texts[1])
		}
	}
	return true
}

// take reads the member m if it is one of a client. The text of authType without its
// escapes goes into the space of buf, if that is not nil.
func (c *client) take(name string, m scan.Value, buf *[]byte) {
	switch name {
	case "deviceId":
		c.DeviceID.take(m)
	case "moduleId":
		c.ModuleID.take(m)
	case "sdkVersion":
		c.SDKVersion.take(m)
	case "protocol":
		c.Protocol.take(m)
	case "maskedIpAddress":
		c.MaskedIPAddress.take(m)
	case "authType":
		c.AuthType.take(m, buf)
	case "authenticationType":
		c.AuthenticationType.take(m, nil)
	case "statusCode":
		c.StatusCode.take(m)
	case "statusType":
		c.StatusType.take(m)
	case "statusDescription":
		c.StatusDescription.take(m)
	}
}

// take does what UnmarshalJSONFrom does.
func (m *member) take(v scan.Value) {
	switch v.Kind() {
	case '"':
		m.text = v.Text()
	case '0':
		m.text = v.Literal()
	case 'n':
	default:
		m.odd = true
	}
}

// take does what UnmarshalJSONFrom does, without a copy. The text of a string without
// its escapes goes into the space of buf, if that is not nil.
func (n *nested) take(v scan.Value, buf *[]byte) {
	raw := v.Raw()
	switch v.Kind() {
	case 'n':
	case '"':
		if bytes.IndexByte(raw, '\\') < 0 {
			*n = []byte(v.Text())
			return
		}
		var space []byte
		if buf != nil {
			space = (*buf)[:0]
		}
		*n = unquote(space, raw)
		if buf != nil {
			*buf = *n
		}
	default:
		*n = nested(raw)
	}
}

// unquote appends the text of a JSON string. Characters that are not Unicode are
// replaced.
func unquote(b []byte, quoted jsontext.Value) []byte {
	if !utf8.Valid(quoted) {
		b, _ = jsontext.AppendUnquote(b, quoted) // the error says that something was replaced
		return b
	}
	start := len(b)
	for rest := quoted[1 : len(quoted)-1]; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return append(b, rest...)
		}
		if c := rest[i+1]; c != '"' && c != '\\' && c != '/' { // which nested documents have
			b, _ = jsontext.AppendUnquote(b[:start], quoted)
			return b
		}
		b = append(append(b, rest[:i]...), rest[i+1])
		rest = rest[i+2:]
	}
}
