package functions

import (
	"bytes"
	"errors"
	"fmt"
	"mime"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrHang marks an answer that the Functions host takes for no answer at all:
// a 2xx with an empty body, a 204, or the JSON value null. The host then waits
// until functionTimeout and kills the handler with everything it has in flight,
// because DefaultHttpWorkerService.ProcessDefaultInvocationRequest
// (Azure/azure-functions-host) completes nothing when the deserialised result
// is null. Host reports it at once instead, and kills the handler.
var ErrHang = errors.New("HANG: on the real host this invocation would hang until functionTimeout and then kill the handler; " +
	"answer 200 application/json with a JSON object")

// result is what the host reads from a successful answer
// (Azure/azure-functions-host, HttpScriptInvocationResult). Names match in any case.
type result struct {
	Outputs     map[string]jsontext.Value `json:"Outputs"`
	Logs        []string                  `json:"Logs"`
	ReturnValue jsontext.Value            `json:"ReturnValue"`
}

// judge reads from an answer whether the invocation succeeded. The error wraps
// ErrHang, or says why the invocation failed.
func judge(a answer) (result, error) {
	if a.status < 200 || a.status > 299 {
		return result{}, fmt.Errorf("response status code does not indicate success: %d", a.status)
	}
	if a.status == 204 || len(bytes.TrimSpace(a.body)) == 0 {
		return result{}, fmt.Errorf("status %d with an empty body: %w", a.status, ErrHang)
	}
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || media != "application/json" && media != "text/json" {
		return result{}, fmt.Errorf("no formatter reads content of media type %q", a.header.Get("Content-Type"))
	}
	body := jsontext.Value(bytes.TrimSpace(a.body))
	if body.Kind() == 'n' && string(body) == "null" {
		return result{}, fmt.Errorf("status %d with body null: %w", a.status, ErrHang)
	}
	var r result
	err = json.Unmarshal(body, &r, json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return result{}, fmt.Errorf("invalid response: %w", err)
	}
	return r, nil
}
