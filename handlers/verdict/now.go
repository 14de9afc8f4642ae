package verdict

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Now derives what is said at once on places: refusals, if they are few (mostAtOnce) or a
// storm. The rest waits for Run, which knows how far the log is.
func (j Judge) Now(ctx context.Context, now time.Time, places []Place) (Pass, error) {
	j.relay = true
	var p Pass
	var errs []error
	for _, place := range places {
		if err := j.place(ctx, place, Open, now, &p); err != nil {
			errs = append(errs, fmt.Errorf("verdict on %s, %s: %w", place.Hub, place.Bucket.Start().Format(time.RFC3339), err))
		}
	}
	return p, errors.Join(errs...)
}
