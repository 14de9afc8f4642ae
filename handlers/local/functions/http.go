package functions

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"hubwatch/handlers/local/netjson"
)

// Where a caller puts the key of a function.
const (
	keyHeader    = "X-Functions-Key"
	keyParameter = "code"
)

// serveFunction answers a request with an HTTP function: 404 if no function takes
// it, 401 without the key, 500 if the invocation failed, and otherwise what the
// handler wants.
func (h *Host) serveFunction(w http.ResponseWriter, r *http.Request) {
	target, parameters, ok := h.routed(r)
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !strings.EqualFold(target.trigger.AuthLevel, "anonymous") && !h.authorized(r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	// The real host loses a body of unknown length as well: it asks for
	// Content-Length (Azure/azure-functions-host, HttpRequestExtensions).
	var body []byte
	if r.ContentLength > 0 {
		var err error
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit)); err != nil {
			answerText(w, http.StatusRequestEntityTooLarge, err.Error())
			return
		}
	}
	c := httpCall(target, r, parameters, body)
	if h.command.forwardHTTP && target.httpInAndOut() {
		c.forwarded = &forwarded{r, body}
	}
	a, err := h.run(c)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	a.write(w)
}

// authorized reports whether a request has the key, or none is asked for.
func (h *Host) authorized(r *http.Request) bool {
	return h.key == "" || cmp.Or(r.Header.Get(keyHeader), queryValue(r, keyParameter)) == h.key
}

// httpCall makes an invocation for a request (Azure/azure-functions-host,
// HttpRequestExtensions.GetRequestAsJObject; Azure/azure-webjobs-sdk-extensions,
// HttpTriggerBinding.GetRequestBindingData; a whole request stands in the tests
// of KarlGW/azfunc). Names are sorted, and the members of a body that is a JSON
// object do not become Metadata here.
func httpCall(target function, r *http.Request, parameters []netjson.Member, body []byte) call {
	host := http.Header{"Host": {r.Host}}
	maps.Copy(host, r.Header)
	var query, headers, heads, metadata []netjson.Member
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		value := netjson.AppendText(nil, strings.Join(r.URL.Query()[name], ","))
		query = append(query, netjson.Member{Name: name, Value: value})
		if !strings.EqualFold(name, keyParameter) {
			metadata = append(metadata, netjson.Member{Name: name, Value: netjson.Stringified(value)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(host)) {
		var values [][]byte
		for _, value := range host[name] {
			values = append(values, netjson.AppendText(nil, value))
		}
		headers = append(headers, netjson.Member{Name: name, Value: netjson.AppendArray(nil, values)})
		heads = append(heads, netjson.Member{Name: name, Value: netjson.AppendText(nil, strings.Join(host[name], ","))})
	}
	for _, p := range parameters {
		if string(p.Value) != "null" {
			metadata = append(metadata, netjson.Member{Name: p.Name, Value: netjson.Stringified(p.Value)})
		}
	}
	address := "http://" + r.Host + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		address += "?" + r.URL.RawQuery
	}
	data := []netjson.Member{
		{Name: "Url", Value: netjson.AppendText(nil, address)},
		{Name: "Method", Value: netjson.AppendText(nil, r.Method)},
		{Name: "Query", Value: netjson.AppendObject(nil, query)},
		{Name: "Headers", Value: netjson.AppendObject(nil, headers)},
		{Name: "Params", Value: netjson.AppendObject(nil, parameters)},
		{Name: "Identities", Value: netjson.AppendArray(nil, [][]byte{identity(target.trigger.AuthLevel)})},
	}
	if len(body) > 0 {
		text := string(body)
		if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "application/octet-stream" || strings.Contains(media, "multipart/") {
			text = base64.StdEncoding.EncodeToString(body)
		}
		data = append(data, netjson.Member{Name: "Body", Value: netjson.AppendText(nil, text)})
	}
	return call{
		function: target,
		data:     netjson.AppendObject(nil, data),
		metadata: append(metadata,
			netjson.Member{Name: "Params", Value: netjson.AppendObject(nil, parameters)},
			netjson.Member{Name: "Query", Value: netjson.AppendObject(nil, query)},
			netjson.Member{Name: "Headers", Value: netjson.AppendObject(nil, heads)}),
		traceparent: newTraceparent(randomHex(16)),
	}
}

// identity renders the identity of the caller. It is empty for an anonymous
// function, and has all rights otherwise, as under func start.
func identity(level string) []byte {
	kind, known, claims := []byte("null"), "false", [][]byte{}
	if !strings.EqualFold(level, "anonymous") {
		kind, known = netjson.AppendText(nil, "WebJobsAuthLevel"), "true"
		text := func(s string) []byte { return netjson.AppendText(nil, s) }
		claims = append(claims, netjson.AppendObject(nil, []netjson.Member{
			{Name: "Issuer", Value: text("LOCAL AUTHORITY")},
			{Name: "OriginalIssuer", Value: text("LOCAL AUTHORITY")},
			{Name: "Properties", Value: []byte("{}")},
			{Name: "Type", Value: text("http://schemas.microsoft.com/2017/07/functions/claims/authlevel")},
			{Name: "Value", Value: text("Admin")},
			{Name: "ValueType", Value: text("http://www.w3.org/2001/XMLSchema#string")},
		}))
	}
	return netjson.AppendObject(nil, []netjson.Member{
		{Name: "AuthenticationType", Value: kind},
		{Name: "IsAuthenticated", Value: []byte(known)},
		{Name: "Actor", Value: []byte("null")},
		{Name: "BootstrapContext", Value: []byte("null")},
		{Name: "Claims", Value: netjson.AppendArray(nil, claims)},
		{Name: "Label", Value: []byte("null")},
		{Name: "Name", Value: []byte("null")},
		{Name: "NameClaimType", Value: netjson.AppendText(nil, "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name")},
		{Name: "RoleClaimType", Value: netjson.AppendText(nil, "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")},
	})
}

// forwarded is a request that is handed on as it came.
type forwarded struct {
	request *http.Request
	body    []byte
}

// bytes writes the request, with the caller's own Host and with the host's header
// fields beside the caller's (Azure/azure-functions-host,
// DefaultHttpWorkerService.ProcessHttpInAndOutInvocationRequest).
func (f *forwarded) bytes(c call) []byte {
	r := f.request
	fields := r.Header.Clone()
	for _, name := range []string{"Connection", "Expect", "Keep-Alive", "Transfer-Encoding", "Content-Length"} {
		fields.Del(name)
	}
	fields.Set("User-Agent", strings.TrimSpace(fields.Get("User-Agent")+" Azure-Functions-Host/"+hostVersion))
	if fields.Get("Traceparent") == "" {
		fields.Set("Traceparent", c.traceparent)
	}
	fields.Set("X-Azure-Functions-HostVersion", hostVersion)
	fields.Set("X-Azure-Functions-InvocationId", c.id)
	if len(f.body) > 0 {
		fields.Set("Content-Length", fmt.Sprint(len(f.body)))
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.Host)
	fields.Write(&out)
	out.WriteString("\r\n")
	out.Write(f.body)
	return out.Bytes()
}

// invokeByHand is POST /admin/functions/<name> with a body {"input":"..."}, which
// makes the real host invoke any function at once. The host answers 202 and does
// not wait. This host invokes functions of timers and of Event Grid in this way.
// The input of an Event Grid function is an event.
func (h *Host) invokeByHand(w http.ResponseWriter, r *http.Request, name string) {
	var in struct {
		Input string `json:"input"`
	}
	i := slices.IndexFunc(h.Names(), func(n string) bool { return strings.EqualFold(n, name) })
	switch {
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case !h.authorized(r):
		w.WriteHeader(http.StatusUnauthorized)
		return
	case unmarshalBody(w, r, &in) != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	case i < 0:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	target := h.functions[h.Names()[i]]
	c, err := h.callByHand(target, in.Input)
	if err != nil {
		h.logger.Error("invocation failed", "function", target.name, "error", err)
	} else {
		go h.invoke(c)
	}
	w.WriteHeader(http.StatusAccepted)
}

// callByHand lays out an invocation without a trace header, because no request is
// behind it.
func (h *Host) callByHand(target function, input string) (call, error) {
	if t, ok := h.timers[target.name]; ok {
		return t.call(t.status()), nil
	}
	if !target.trigger.is(eventGridTrigger) || target.many() {
		return call{}, errors.New("this host invokes only the functions of timers and of single events by hand")
	}
	event, err := parseGridEvent([]byte(input))
	if err != nil {
		return call{}, err
	}
	c := eventGridCalls(target, []gridEvent{event})[0]
	c.traceparent = ""
	c.metadata = append(c.metadata, netjson.Member{Name: target.trigger.Name, Value: netjson.Stringified(netjson.AppendText(nil, input))})
	return c, nil
}
