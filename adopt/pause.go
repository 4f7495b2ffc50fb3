package adopt

import (
	"time"

	"go.uber.org/zap"
)

// longestPause bounds how long a row waits for its next turn. Each turn that fails leaves a version, and versions stay.
const longestPause = time.Hour

// pause is how long a row has to wait after a turn that failed for a reason of ours, unless its content changes.
type pause struct {
	stamp  string // of the content
	until  time.Time
	length time.Duration
	told   string // why, as it was logged
}

// waitsLocked reports whether a row with that content has to wait.
func (f *Follower) waitsLocked(id, stamp string) bool {
	p, ok := f.pauses[id]
	return ok && p.stamp == stamp && time.Now().Before(p.until)
}

// pauseLocked has a row wait twice as long as the last time, and tells why unless it was told before.
func (f *Follower) pauseLocked(id, stamp string, err error) {
	before := f.pauses[id]
	length := f.Every
	if before.stamp == stamp && before.length > 0 {
		length = min(2*before.length, longestPause)
	}
	f.pauses[id] = pause{stamp, time.Now().Add(length), length, err.Error()}
	if before.told != err.Error() {
		f.Log.Warn("a row of table apis has to wait", zap.String("id", id), zap.Error(err))
	}
}
