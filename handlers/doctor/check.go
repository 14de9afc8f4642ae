package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"hubwatch/handlers/secret"
)

// Verdict is the result of a check in one word.
type Verdict string

// The verdicts. What is unknown is not wrong.
const (
	OK      Verdict = "ok"
	Wrong   Verdict = "wrong"
	Unknown Verdict = "unknown"
)

// Result is the outcome of a check.
type Result struct {
	Check   string // what was looked at
	Verdict Verdict
	// Text says what was found if the check is ok, what to do if it is wrong, and
	// why it is unknown. It is one line, without secrets.
	Text string
}

// String returns the result in one line.
func (r Result) String() string { return fmt.Sprintf("%-8s %s: %s", r.Verdict, r.Check, r.Text) }

func ok(format string, args ...any) Result    { return result(OK, format, args) }
func wrong(format string, args ...any) Result { return result(Wrong, format, args) }
func unknown(format string, args ...any) Result {
	return result(Unknown, format, args)
}

// result is a result without its check.
func result(v Verdict, format string, args []any) Result {
	text := secret.RedactString(fmt.Sprintf(format, args...))
	return Result{Verdict: v, Text: strings.Join(strings.Fields(text), " ")}
}

// check is one thing that can be wrong with a deployment.
type check struct {
	name string
	run  func(context.Context) Result
}

// within runs the check with its time limit.
func (c check) within(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	r := c.run(ctx)
	r.Check = c.name
	return r
}

// failed is the result of a check whose request failed. It is wrong if Azure says
// that the resource does not exist; missing says what to do then. Otherwise it is
// unknown.
func failed(err error, missing string) Result {
	if notFound(err) {
		return wrong("%s (%s)", missing, reason(err))
	}
	return unknown("%s", reason(err))
}

func notFound(err error) bool {
	var response *azcore.ResponseError
	return errors.As(err, &response) && response.StatusCode == http.StatusNotFound
}

// reason says in one line what failed where. The SDK's own text has the whole
// answer in it, over many lines.
func reason(err error) string {
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		first, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
		return first
	}
	text := fmt.Sprintf("%d %s", response.StatusCode, response.ErrorCode)
	if response.ErrorCode == "" {
		text = fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	if raw := response.RawResponse; raw != nil && raw.Request != nil {
		text += fmt.Sprintf(" to %s %s", raw.Request.Method, raw.Request.URL.Path)
	}
	if response.StatusCode == http.StatusForbidden {
		text += "; you need the role Reader there"
	}
	return text
}

// once returns a function that calls fetch only once and keeps the answer, for
// several checks.
func once[T any](fetch func(context.Context) (T, error)) func(context.Context) (T, error) {
	var (
		done  bool
		value T
		err   error
	)
	return func(ctx context.Context) (T, error) {
		if !done {
			value, err = fetch(ctx)
			done = true
		}
		return value, err
	}
}

// inFull makes one result of all problems. Without problems the result is ok.
func inFull(problems []string, fine string, args ...any) Result {
	if len(problems) > 0 {
		return wrong("%s", strings.Join(problems, "; "))
	}
	return ok(fine, args...)
}
