package functions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hubwatch/handlers/local/netjson"
)

// retryFile is the member retry of function.json
// (learn.microsoft.com/azure/azure-functions/functions-bindings-error-pages).
type retryFile struct {
	Strategy        string `json:"strategy"`
	MaxRetryCount   *int   `json:"maxRetryCount"`
	DelayInterval   string `json:"delayInterval"`
	MinimumInterval string `json:"minimumInterval"`
	MaximumInterval string `json:"maximumInterval"`
}

// retryPolicy says how often and after which waits a failed invocation is tried
// again.
type retryPolicy struct {
	most             int           // retries; -1 means without end
	minimum, maximum time.Duration // of a wait; the same for a fixed delay
}

// policy checks what was read. Its error is about the named member.
func (r retryFile) policy() (p retryPolicy, member string, err error) {
	if r.MaxRetryCount == nil {
		return p, "maxRetryCount", errMissing
	}
	if p.most = *r.MaxRetryCount; p.most < -1 {
		return p, "maxRetryCount", fmt.Errorf("%d is less than -1", p.most)
	}
	switch {
	case strings.EqualFold(r.Strategy, "fixedDelay"):
		if p.minimum, err = interval(r.DelayInterval); err != nil {
			return p, "delayInterval", err
		}
		p.maximum = p.minimum
	case strings.EqualFold(r.Strategy, "exponentialBackoff"):
		if p.minimum, err = interval(r.MinimumInterval); err != nil {
			return p, "minimumInterval", err
		}
		if p.maximum, err = interval(r.MaximumInterval); err != nil {
			return p, "maximumInterval", err
		}
		if p.minimum > p.maximum {
			return p, "minimumInterval", errors.New("it is greater than maximumInterval")
		}
	default:
		return p, "strategy", fmt.Errorf("%q is neither fixedDelay nor exponentialBackoff", r.Strategy)
	}
	return p, "", nil
}

// interval reads a wait. A wait has no default, and has to be finite.
func interval(s string) (time.Duration, error) {
	if s == "" {
		return 0, errMissing
	}
	if s == "-1" {
		return 0, fmt.Errorf("%q is not a time span hh:mm:ss", s)
	}
	return parseTimeSpan(s, 0)
}

// exhausted reports whether no further retry follows after this many. A function
// without a policy has no retries.
func (p *retryPolicy) exhausted(retries int) bool {
	return p == nil || p.most != -1 && retries >= p.most
}

// persist runs an invocation, and again by the retry policy of its function, with
// the same invocation id, until one succeeds or no retry is left. The waits are
// multiplied by timeScale. The error is that of the last attempt. When ctx ends,
// persist returns at once.
func (h *Host) persist(ctx context.Context, c call, timeScale float64) error {
	policy := c.function.retry
	c.id = newUUID()
	var err error
	for retries := 0; ; retries++ {
		c.retryContext = policy.context(c.function.name, c.id, retries, err)
		if err = waitFor(ctx, func() error { return h.invoke(c) }); err == nil || ctx.Err() != nil || policy.exhausted(retries) {
			return err
		}
		if !sleep(ctx, time.Duration(float64(policy.delay(retries+1))*timeScale)) {
			return ctx.Err()
		}
	}
}

// waitFor returns the result of work. If ctx ends before, it returns the error of
// ctx.
func waitFor(ctx context.Context, work func() error) error {
	result := make(chan error, 1)
	go func() { result <- work() }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// delay is the wait before a retry, counted from 1. The first wait is the minimum
// m, and the following waits are 2m, 3m, 5m, 9m and so on, up to the maximum
// (Azure/azure-webjobs-sdk, RandomizedExponentialBackoffStrategy, without its
// random part).
func (p *retryPolicy) delay(retry int) time.Duration {
	wait, more := p.minimum, p.minimum
	for range retry - 1 {
		if wait = p.minimum + more; wait >= p.maximum {
			return p.maximum
		}
		more *= 2
	}
	return min(wait, p.maximum)
}

// context renders Metadata.RetryContext of an invocation after this many retries.
// last is the error of the attempt before. The rendered exception leaves out what
// depends on .NET. The result is nil if there is no policy.
func (p *retryPolicy) context(function, id string, retries int, last error) []byte {
	if p == nil {
		return nil
	}
	exception := []byte("null")
	if last != nil {
		exception = netjson.AppendObject(nil, []netjson.Member{
			{Name: "InstanceId", Value: netjson.AppendText(nil, id)},
			{Name: "MethodName", Value: netjson.AppendText(nil, "Host.Functions."+function)},
			{Name: "Handled", Value: []byte("false")},
			{Name: "ClassName", Value: netjson.AppendText(nil, "Microsoft.Azure.WebJobs.Host.FunctionInvocationException")},
			{Name: "Message", Value: netjson.AppendText(nil, "Exception while executing function: Functions."+function)},
			{Name: "InnerException", Value: netjson.AppendObject(nil, []netjson.Member{{Name: "Message", Value: netjson.AppendText(nil, last.Error())}})},
		})
	}
	return netjson.AppendObject(nil, []netjson.Member{
		{Name: "RetryCount", Value: fmt.Append(nil, retries)},
		{Name: "MaxRetryCount", Value: fmt.Append(nil, p.most)},
		{Name: "Exception", Value: exception},
		{Name: "Instance", Value: []byte("null")},
		{Name: "State", Value: []byte("{}")},
	})
}
