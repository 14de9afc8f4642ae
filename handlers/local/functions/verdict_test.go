package functions

import (
	"errors"
	"slices"
	"testing"
)

// answers are what the test handler replies to the function of that name.
var answers = map[string]testAnswer{
	"Full":           {200, "application/json", `{"Outputs":{"x":1},"Logs":["said by the handler"],"ReturnValue":null}`},
	"Empty":          {200, "application/json", `{}`},
	"Accepted":       {202, "application/json; charset=utf-8", `{}`},
	"TextJSON":       {200, "text/json", `{}`},
	"LowerCase":      {200, "application/json", `{"outputs":{},"logs":["low"]}`},
	"UnknownMembers": {200, "application/json", `{"what":[1]}`},
	"NullMembers":    {200, "application/json", `{"Outputs":null,"Logs":null}`},
	"NoBody":         {200, "", ``},
	"NoBodyTyped":    {200, "application/json", ``},
	"NoContent":      {204, "", ``},
	"Null":           {200, "application/json", ` null `},
	"PlainText":      {200, "text/plain", `{}`},
	"NoType":         {200, "", `{}`},
	"Array":          {200, "application/json", `[]`},
	"String":         {200, "application/json", `"ok"`},
	"Truncated":      {200, "application/json", `{"Logs":[`},
	"LogsObject":     {200, "application/json", `{"Logs":[{"a":1}]}`},
	"LogsString":     {200, "application/json", `{"Logs":"one"}`},
	"OutputsArray":   {200, "application/json", `{"Outputs":[]}`},
	"Redirect":       {307, "application/json", `{}`},
	"BadRequest":     {400, "application/json", `{"Logs":["dropped"]}`},
	"ServerError":    {500, "application/json", `{"Logs":["dropped"]}`},
}

// TestVerdict is the table of what the host makes of an answer.
func TestVerdict(t *testing.T) {
	tests := []struct {
		name string
		want string // success, hang or failure
		logs []string
	}{
		{"Full", "success", []string{"said by the handler"}},
		{"Empty", "success", nil},
		{"Accepted", "success", nil},
		{"TextJSON", "success", nil},
		{"LowerCase", "success", []string{"low"}},
		{"UnknownMembers", "success", nil},
		{"NullMembers", "success", nil},
		{"NoBody", "hang", nil},
		{"NoBodyTyped", "hang", nil},
		{"NoContent", "hang", nil},
		{"Null", "hang", nil},
		{"PlainText", "failure", nil},
		{"NoType", "failure", nil},
		{"Array", "failure", nil},
		{"String", "failure", nil},
		{"Truncated", "failure", nil},
		{"LogsObject", "failure", nil},
		{"LogsString", "failure", nil},
		{"OutputsArray", "failure", nil},
		{"Redirect", "failure", nil},
		{"BadRequest", "failure", nil},
		{"ServerError", "failure", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := answers[test.name]
			result, err := judge(answer{a.status, map[string][]string{"Content-Type": {a.contentType}}, []byte(a.body)})
			got := "failure"
			switch {
			case err == nil:
				got = "success"
			case errors.Is(err, ErrHang):
				got = "hang"
			}
			if got != test.want {
				t.Errorf("verdict %s (%v), want %s", got, err, test.want)
			}
			if err == nil && !slices.Equal(result.Logs, test.logs) {
				t.Errorf("logs %q, want %q", result.Logs, test.logs)
			}
		})
	}
	if len(tests) != len(answers) {
		t.Errorf("%d cases for %d answers", len(tests), len(answers))
	}
}

// TestVerdictOverHTTP sends real answers through the whole host: a hang kills
// the handler and restarts it without counting.
func TestVerdictOverHTTP(t *testing.T) {
	log := newLogs()
	f := start(t, app(t, nil, "Full", "NoBody", "NoContent", "Null", "NoType", "ServerError"), Options{Logger: log.logger()})
	for _, name := range []string{"NoBody", "NoContent", "Null"} {
		w := f.current()
		if err := f.Invoke(within(t), name, []byte(`{}`)); !errors.Is(err, ErrHang) {
			t.Errorf("%s: got %v, want ErrHang", name, err)
		}
		receive(t, "restart after "+name, w.replaced)
		if w.exitCode != 137 {
			t.Errorf("%s: exit code %d, want 137 for SIGKILL", name, w.exitCode)
		}
	}
	for _, name := range []string{"NoType", "ServerError"} {
		if err := f.Invoke(within(t), name, []byte(`{}`)); err == nil || errors.Is(err, ErrHang) {
			t.Errorf("%s: got %v, want a plain failure", name, err)
		}
	}
	if err := f.Invoke(within(t), "Full", []byte(`{}`)); err != nil {
		t.Error(err)
	}
	log.await(t, "level=INFO", "said by the handler", "category=Function.Full.User", "invocationId=")
	if log.has("dropped") {
		t.Error("the Logs of a failed answer were logged")
	}
}
