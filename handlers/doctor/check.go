package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"hubwatch/handlers/secret"
)

// verdict is what a check comes to.
type verdict string

const (
	isOK      verdict = "ok"
	isWrong   verdict = "wrong"
	isUnknown verdict = "unknown"
)

// result is the outcome of a check. Its text says what was found if that is ok,
// what to do if it is wrong, and why if it is unknown.
type result struct {
	verdict verdict
	text    string
}

func ok(format string, args ...any) result    { return result{isOK, fmt.Sprintf(format, args...)} }
func wrong(format string, args ...any) result { return result{isWrong, fmt.Sprintf(format, args...)} }
func unknown(format string, args ...any) result {
	return result{isUnknown, fmt.Sprintf(format, args...)}
}

// check is one thing that can be wrong with a deployment. It has one line.
type check struct {
	name string
	run  func(context.Context) result
}

// within runs the check within its time.
func (c check) within(ctx context.Context) result {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return c.run(ctx)
}

// report writes the line of a check, without secrets, and returns its verdict.
func report(w io.Writer, name string, r result) verdict {
	text := strings.Join(strings.Fields(secret.RedactString(r.text)), " ")
	fmt.Fprintf(w, "%-8s %s: %s\n", r.verdict, name, text)
	return r.verdict
}

// failed is the result of a check that could not ask: wrong if Azure says that
// there is no such thing, with what to do then, and otherwise unknown.
func failed(err error, missing string) result {
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

// once returns fetch, but such that it is called only once: several checks look
// at the same answer.
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

// inFull joins what is wrong with one thing into one result.
func inFull(problems []string, fine string, args ...any) result {
	if len(problems) > 0 {
		return wrong("%s", strings.Join(problems, "; "))
	}
	return ok(fine, args...)
}
