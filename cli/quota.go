package cli

import (
	"context"
	"fmt"
	"time"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

// usedQuota tells what a quota has used of a month before this process counts: by the store, once it has what waits in the
// journal.
func (s *server) usedQuota(ctx context.Context, q ratelimit.Quota, month time.Time) (int64, error) {
	filter := store.SumFilter{Since: month}
	switch q.Policy {
	case "key":
		filter.KeyID = q.Key
	case "plan":
		filter.UserID = q.Key
	case "api":
		filter.APIID = q.Key
	default:
		return 0, fmt.Errorf("quota of %q: nobody knows what it counts", q.Policy)
	}
	if err := s.journal.Flush(ctx); err != nil {
		return 0, err
	}
	sums, err := s.store.SumUsage(ctx, filter)
	if err != nil {
		return 0, err
	}
	return sums[0].Admitted, nil
}
