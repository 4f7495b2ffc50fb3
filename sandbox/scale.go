package sandbox

import "time"

// demand is the most requests in flight of late, in two spans of half the quiet time each.
type demand struct {
	peak, before int
	since        time.Time // when the span of peak began
}

func (d *demand) note(inflight int) { d.peak = max(d.peak, inflight) }

// turn begins a new span when one is over. It returns the most requests of the last two, and whether it did.
func (d *demand) turn(now time.Time, span time.Duration, inflight int) (peak int, over bool) {
	if d.since.IsZero() {
		d.since = now
	}
	if now.Sub(d.since) < span {
		return 0, false
	}
	peak = max(d.peak, d.before, inflight)
	d.before, d.peak, d.since = d.peak, inflight, now
	return peak, true
}

// growLocked starts instances when there are more requests in flight than the target allows: as many at a time as serve, so
// that a burst is met fast and a short one costs little.
func (m *Manager) growLocked(f *fleet) {
	if f.slot.scale.Target <= 0 {
		return
	}
	n := f.inflightLocked()
	f.demand.note(n)
	least, most := f.boundsLocked()
	want := f.slot.scale.want(n, least, most)
	for len(f.instances)+f.starts < want && f.starts < max(len(f.instances), 1) && f.backoff.check(time.Now()) == nil {
		m.startLocked(f, false)
	}
}

// shrinkLocked takes out the instances that were not needed for the quiet time.
func (m *Manager) shrinkLocked(f *fleet, now time.Time) {
	if f.slot.scale.Isolated {
		return
	}
	peak, over := f.demand.turn(now, m.cfg.QuietTime/2, f.inflightLocked())
	if !over {
		return
	}
	least, most := f.boundsLocked()
	want := f.slot.scale.want(peak, least, most)
	for i := f.leastLoadedLocked(); i != nil && len(f.instances) > want; i = f.leastLoadedLocked() {
		m.drainLocked(f, i)
	}
}

// keepLocked starts what is missing of the instances that always run, where there is room.
func (m *Manager) keepLocked(f *fleet) {
	if f.slot.asleep || f.retired || m.stopped || m.leaving {
		return
	}
	least, most := f.boundsLocked()
	for len(f.instances)+f.starts < least && f.backoff.check(time.Now()) == nil && len(m.room.queue) == 0 && m.roomyLocked(0) {
		if f.slot.scale.Isolated && f.countLocked() >= most {
			return
		}
		m.startLocked(f, true)
	}
}
