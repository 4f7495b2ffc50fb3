package adopt

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// absence is what is known of rows that were followed and are not there. With one go its API and all keys, so it must not be merely hidden by
// a policy, nor be missing because the table is being filled anew, which some programs do row by row.
type absence struct {
	hidden  bool      // rows may be hidden
	missing int       // rows, at the last look
	since   time.Time // when so many of them were missing that none counts as gone yet; zero: so many are not
}

// goneLocked gives a turn to each row that is gone.
func (f *Follower) goneLocked(life context.Context, marks map[string]string, all, first bool) {
	var missing []string
	for id := range f.followed {
		if _, there := marks[id]; !there && !f.busy[id] && !f.waitsLocked(id, "") {
			missing = append(missing, id)
		}
	}
	if !f.areGoneLocked(len(missing), all, first) {
		return
	}
	for _, id := range missing {
		delete(f.marks, id)
		f.turnLocked(life, id, "", f.remove)
	}
}

// areGoneLocked reports whether rows that are missing are gone. Where most are, or several when this node begins to look, they are once their
// number has not become less for the grace.
func (f *Follower) areGoneLocked(missing int, all, first bool) bool {
	a := &f.absence
	if !all && !a.hidden {
		f.Log.Warn("row-level security may hide rows of table apis from the server's user: what is not there is not taken for deleted; " +
			"give the user BYPASSRLS, or make it the table's owner")
	}
	a.hidden = !all
	before := a.missing
	a.missing = missing
	many := missing > 1 && (first || 2*missing > len(f.followed))
	switch {
	case !all, missing == 0:
		a.since = time.Time{}
		return false
	case a.since.IsZero() && !many:
		return true
	case a.since.IsZero():
		f.Log.Warn("many rows of table apis are missing: their APIs are deleted if no more of them come back", zap.Int("missing", missing),
			zap.Int("apis", len(f.followed)), zap.Duration("in", f.Grace))
		a.since = time.Now()
	case missing < before:
		a.since = time.Now()
	}
	return time.Since(a.since) >= f.Grace
}
