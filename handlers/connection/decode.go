package connection

import "hubwatch/handlers/scan"

// take reads the members of an object. It returns false for what is not usual, which
// json.Unmarshal has to read, or refuse.
func (d *Decoder) take(object scan.Value) bool {
	v := &d.doc
	for m := object.First(); m != (scan.Value{}); m = m.Next() {
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
			d.held = m
		case "TimeGenerated", "_ResourceId", "ResourceId", "OperationName", "MetricName", "Level", "ResultType", "ResultDescription", "properties_s":
			return false // a row of Log Analytics
		default:
			v.client.take(name, m, nil)
		}
	}
	return true
}

// scanProperties is take for the properties of a record, which are a text of their own.
func (d *Decoder) scanProperties(raw []byte) bool {
	if !d.inner.Scan(raw, "", mostValues) || d.inner.Root().Kind() != '{' {
		return false
	}
	p := &d.properties
	for m := d.inner.Root().First(); m != (scan.Value{}); m = m.Next() {
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

// take does what UnmarshalJSONFrom does, without a copy. The text of a string that has
// escapes goes into the space of buf, if that is not nil.
func (n *nested) take(v scan.Value, buf *[]byte) {
	switch {
	case v.Kind() == 'n':
	case v.Kind() != '"':
		*n = nested(v.Raw())
	case v.IsPlain():
		raw := v.Raw()
		*n = nested(raw[1 : len(raw)-1])
	case buf == nil:
		*n = v.AppendText(nil)
	default:
		*buf = v.AppendText((*buf)[:0])
		*n = *buf
	}
}
