package host

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadline checks that the context of an invocation ends as one of package context
// does, whoever asks first and for what.
func TestDeadline(t *testing.T) {
	cause := errors.New("not done in time")
	asks := map[string]func(context.Context){
		"nobody":  func(context.Context) {},
		"done":    func(ctx context.Context) { ctx.Done() },
		"error":   func(ctx context.Context) { _ = ctx.Err() },
		"a child": func(ctx context.Context) { _, stop := context.WithTimeout(ctx, time.Minute); stop() },
	}
	type key struct{}
	for name, ask := range asks {
		for end, test := range map[string]struct {
			wait, parent time.Duration // parent is when the parent ends
			finish       bool
			err, cause   error
		}{
			"not yet":        {time.Second, time.Hour, false, nil, nil},
			"the time":       {time.Minute, time.Hour, false, context.DeadlineExceeded, cause},
			"the parent":     {10 * time.Second, 5 * time.Second, false, context.DeadlineExceeded, context.DeadlineExceeded},
			"the invocation": {time.Second, time.Hour, true, context.Canceled, context.Canceled},
		} {
			t.Run(name+"/"+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), test.parent)
					defer cancel()
					d := &deadline{parent: parent, end: time.Now().Add(20 * time.Second), cause: cause}
					want := min(test.parent, 20*time.Second)
					if got, ok := d.Deadline(); !ok || time.Until(got) != want {
						t.Errorf("the deadline is in %v, want %v", time.Until(got), want)
					}
					ask(d)
					time.Sleep(test.wait)
					if test.finish {
						d.finish()
					}
					synctest.Wait()
					if err, why := d.Err(), context.Cause(d); !errors.Is(err, test.err) || !errors.Is(why, test.cause) {
						t.Errorf("error %v because of %v, want %v because of %v", err, why, test.err, test.cause)
					}
					select {
					case <-d.Done():
						if test.err == nil {
							t.Error("it is done")
						}
					default:
						if test.err != nil {
							t.Error("it is not done")
						}
					}
					if d.Value(key{}) != "value" {
						t.Error("it has not the values of its parent")
					}
					d.finish()
				})
			})
		}
	}
}
