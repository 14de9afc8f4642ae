package functions

import (
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/local/netjson"
)

// httpAnswer is what a caller of an HTTP function gets.
type httpAnswer struct {
	status int
	header http.Header
	body   []byte
}

// write sends the answer, without header fields about the connection with the
// handler.
func (a httpAnswer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		switch name {
		case "Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length":
		default:
			w.Header()[name] = values
		}
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// answerOf reads what a handler answers a request with: the output of the http
// binding, or ReturnValue if the binding is called $return. If the handler
// answers nothing, the caller gets 204. If the outputs do not have this one, the
// caller gets 200 with the body {} (Azure/azure-functions-host,
// HttpScriptInvocationResultExtensions and HttpBinding). A function that no
// request triggers has no binding, and nobody reads its answer. The error says
// why the host fails the invocation.
func answerOf(target function, r result) (httpAnswer, error) {
	if target.answer == nil {
		return httpAnswer{status: http.StatusNoContent}, nil
	}
	value := r.Outputs[target.answer.Name]
	switch {
	case target.answer.Name == "$return":
		return returned(r.ReturnValue)
	case r.Outputs == nil:
		return httpAnswer{status: http.StatusNoContent}, nil
	case value == nil || value.Kind() == 'n':
		return plain(http.StatusOK, []byte("{}")), nil
	}
	text, err := unquoted(value)
	if err != nil {
		return httpAnswer{}, err
	}
	return responseObject(text, true)
}

// returned is the answer for a ReturnValue: an object with a body is a whole
// answer. Text is the body. Text that can be read as Base64 stands for the bytes
// that it encodes.
func returned(value jsontext.Value) (httpAnswer, error) {
	if value == nil || value.Kind() == 'n' {
		return httpAnswer{status: http.StatusNoContent}, nil
	}
	text, err := unquoted(value)
	if err != nil {
		return httpAnswer{}, err
	}
	if value.Kind() == '"' {
		if decoded, err := base64.StdEncoding.DecodeString(string(text)); err == nil {
			return httpAnswer{status: http.StatusOK, body: decoded}, nil
		}
		if !jsontext.Value(text).IsValid() {
			return plain(http.StatusOK, text), nil
		}
	}
	if jsontext.Value(text).Kind() == '{' {
		return responseObject(text, false)
	}
	body, err := bodyText(text, true)
	return plain(http.StatusOK, body), err
}

// responseObject is the answer that an object describes. Names match in any case.
// An object without a body is an answer only if it came from an output. As a
// ReturnValue, the object itself is the body. A status that is not a number is
// 200.
func responseObject(text []byte, output bool) (httpAnswer, error) {
	var object struct {
		StatusCode jsontext.Value            `json:"statusCode"`
		Status     jsontext.Value            `json:"status"`
		Body       jsontext.Value            `json:"body"`
		Headers    map[string]jsontext.Value `json:"headers"`
	}
	if err := json.Unmarshal(text, &object, json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true)); err != nil {
		return httpAnswer{}, fmt.Errorf("output is not in the expected format: %w", err)
	}
	if object.Body == nil && !output {
		body, err := bodyText(text, true)
		return plain(http.StatusOK, body), err
	}
	body, err := bodyText(object.Body, output)
	if err != nil {
		return httpAnswer{}, err
	}
	a := plain(http.StatusOK, body)
	for name, value := range object.Headers {
		text, err := bodyText(value, false)
		if err != nil {
			return httpAnswer{}, fmt.Errorf("header %s: %w", name, err)
		}
		a.header.Set(name, string(text))
	}
	if media, parameters, err := mime.ParseMediaType(a.header.Get("Content-Type")); err == nil && parameters["charset"] == "" {
		parameters["charset"] = "utf-8"
		a.header.Set("Content-Type", mime.FormatMediaType(media, parameters))
	}
	for _, value := range []jsontext.Value{object.Status, object.StatusCode} { // the latter wins
		number, err := unquoted(value)
		if n, bad := strconv.Atoi(string(number)); err == nil && bad == nil {
			a.status = n
		}
	}
	if a.status < 200 || a.status > 999 {
		return httpAnswer{}, fmt.Errorf("%d is not the status of an answer", a.status)
	}
	return a, nil
}

// plain is an answer of text.
func plain(status int, body []byte) httpAnswer {
	return httpAnswer{status, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, body}
}

var errArrayBody = errors.New("the real host sends the name of a .NET type for a body in ReturnValue that is an array: send text")

// bodyText is the text of a body as .NET writes it. A string gives its content.
// An object or an array gives its JSON, indented in an output and in one line in
// a ReturnValue. Null gives nothing.
func bodyText(value jsontext.Value, indented bool) ([]byte, error) {
	if value == nil {
		return nil, nil
	}
	switch value.Kind() {
	case 'n':
		return nil, nil
	case '"':
		return unquoted(value)
	case 't', 'f': // Boolean.ToString
		return []byte(strings.ToUpper(string(value[:1])) + string(value[1:])), nil
	case '[':
		if !indented {
			return nil, errArrayBody
		}
	}
	rendered, err := netjson.Render(value)
	if err != nil || !indented {
		return rendered, err
	}
	pretty := jsontext.Value(rendered)
	err = pretty.Indent(jsontext.WithIndent("  "))
	return pretty, err
}

// unquoted returns the text of a JSON string, and any other value as it is.
func unquoted(value []byte) ([]byte, error) {
	if jsontext.Value(value).Kind() != '"' {
		return value, nil
	}
	token, err := netjson.NewDecoder(value).ReadToken()
	if err != nil {
		return nil, err
	}
	return []byte(token.String()), nil
}
