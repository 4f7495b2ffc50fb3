package sandbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	mostQueued    = 1000                   // starts that wait for room
	roomLook      = 200 * time.Millisecond // how often those look whether memory came back
	memoryKept    = 20 * time.Millisecond  // how long a reading of the host's memory counts
	startMemory   = 64 << 20               // bytes that a start is expected to take
	memorySettles = 3 * time.Second        // after its sandbox stands, when it has taken them; what it takes later is seen
)

// room is the node's places and memory, and those who wait for them in their order.
type room struct {
	queue  []*outcome
	making int // starts whose memory is not seen yet
	giving int // instances and warm sandboxes that are ending to make room

	available int64
	read      time.Time
}

// reserve takes a place for one more instance. Where there is none, warm sandboxes are given up when memory is short, then the
// longest idle instances, and it waits for that and for others' ends: in turn, and no longer than the room timeout unless it only
// waits for other starts. An optional place is taken when it is free and nobody waits.
func (m *Manager) reserve(ctx context.Context, optional bool) error {
	turn, err := m.queueForRoom(optional)
	if err != nil || turn == nil {
		return err
	}
	defer m.queued.Add(-1)
	timeout, look := time.NewTimer(m.cfg.RoomTimeout), time.NewTicker(roomLook)
	defer timeout.Stop()
	defer look.Stop()
	for {
		select {
		case <-turn.done:
			return turn.err
		case <-look.C:
			m.mu.Lock()
			m.admitLocked()
			m.mu.Unlock()
			continue
		case <-timeout.C:
			if m.behindStarts() {
				timeout.Reset(m.cfg.RoomTimeout)
				continue
			}
			return m.leaveQueue(turn, ErrNoRoom)
		case <-ctx.Done():
			return m.leaveQueue(turn, ctx.Err())
		}
	}
}

// queueForRoom returns nothing when a place was free.
func (m *Manager) queueForRoom(optional bool) (*outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return nil, ErrStopped
	case len(m.room.queue) == 0 && m.roomyLocked(0):
		m.takeLocked()
		return nil, nil
	case optional, len(m.room.queue) >= mostQueued:
		return nil, ErrNoRoom
	}
	turn := newOutcome()
	m.room.queue = append(m.room.queue, turn)
	m.queued.Add(1)
	m.admitLocked()
	return turn, nil
}

// behindStarts reports whether nothing but other starts is in the way: memory is held for each of them for a short time only, however
// long its program takes to start, and it will have taken less. So hundreds of programs that are called at once start one after the other, and none is turned away.
func (m *Manager) behindStarts() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.room.making > 0 && m.live < m.cfg.MaxSandboxes && m.headroomLocked() >= startMemory
}

// leaveQueue gives up waiting. A place that was given meanwhile is taken when only the time was up.
func (m *Manager) leaveQueue(turn *outcome, why error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.Index(m.room.queue, turn)
	if at >= 0 {
		m.room.queue = slices.Delete(m.room.queue, at, at+1)
		return why
	}
	if errors.Is(why, ErrNoRoom) {
		return nil
	}
	m.room.making--
	m.freeLocked()
	return why
}

func (m *Manager) takeLocked() {
	m.live++
	m.room.making++
}

// memorySeen gives back the memory that was held for a start.
func (m *Manager) memorySeen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room.making--
	m.admitLocked()
}

// freeLocked gives a place back.
func (m *Manager) freeLocked() {
	m.live--
	m.admitLocked()
}

// admitLocked lets in those whose turn it is, and makes room for the others.
func (m *Manager) admitLocked() {
	for len(m.room.queue) > 0 && m.roomyLocked(0) {
		turn := m.room.queue[0]
		m.room.queue = m.room.queue[1:]
		m.takeLocked()
		turn.settle(nil)
	}
	for m.room.giving < len(m.room.queue) && m.giveUpLocked() {
	}
}

// roomyLocked reports whether one more fits, with some bytes to spare.
func (m *Manager) roomyLocked(spare int64) bool {
	return m.live < m.cfg.MaxSandboxes && m.headroomLocked() >= int64(m.room.making+1)*startMemory+spare
}

// headroomLocked is how much memory is left above the reserve; a lot where nobody looks.
func (m *Manager) headroomLocked() int64 {
	const plenty = 1 << 60
	if m.cfg.Memory == nil {
		return plenty
	}
	if time.Since(m.room.read) >= memoryKept {
		available, err := m.cfg.Memory()
		if err != nil {
			m.cfg.Log.Warn("read the host's memory", zap.Error(err))
			available = plenty
		}
		m.room.available, m.room.read = available, time.Now()
	}
	return m.room.available - m.cfg.MemoryReserve
}

// giveUpLocked begins to end what is missed least: a warm sandbox if memory is what is short, else the instance that is idle for
// longest. It reports whether there was any.
func (m *Manager) giveUpLocked() bool {
	if m.live < m.cfg.MaxSandboxes && m.launcher.pool != nil && m.launcher.pool.giveUp(m.gaveUp) {
		m.room.giving++
		return true
	}
	f, i := m.longestIdleLocked()
	if i == nil {
		return false
	}
	m.noteLocked(f.slot.api, f.version, EventSleeping, "put to sleep to make room for others: the next request starts it")
	m.drainForLocked(f, i, true)
	return true
}

func (m *Manager) gaveUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room.giving--
	m.admitLocked()
}

// longestIdleLocked finds an instance that nobody uses and nobody is about to.
func (m *Manager) longestIdleLocked() (fleet *fleet, longest *Instance) {
	for _, s := range m.apis {
		for _, f := range s.fleets {
			if f.waiters > 0 {
				continue
			}
			for _, i := range f.instances {
				if i.inflight.Load() == 0 && (longest == nil || i.lastUsed.Load() < longest.lastUsed.Load()) {
					fleet, longest = f, i
				}
			}
		}
	}
	return fleet, longest
}

// relieveLocked gives something up when memory is short although nobody asks for room.
func (m *Manager) relieveLocked() {
	if m.headroomLocked() < 0 && m.room.giving == 0 {
		m.giveUpLocked()
	}
}

// spacious reports whether there is memory for a warm sandbox, and some more: what was given up must not come back at once.
func (m *Manager) spacious() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.room.queue) == 0 && m.headroomLocked() >= int64(m.room.making+3)*startMemory
}

// released is called when an instance has become idle: somebody may wait for its place.
func (m *Manager) released() {
	if m.queued.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.admitLocked()
}
