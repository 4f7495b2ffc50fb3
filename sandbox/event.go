package sandbox

import (
	"fmt"
	"strings"
	"time"
)

// EventKind is one word for what the manager did about an API.
type EventKind string

// The kinds that there are.
const (
	EventStarted  EventKind = "started"
	EventSleeping EventKind = "sleeping" // an instance ends although it is well; the next request starts one
)

// Event is something about an API that its author may want to know. How sandboxes end by themselves is told as an Exit.
type Event struct {
	API     string
	Version int
	Kind    EventKind
	Text    string // one line of ours
	At      time.Time
}

// noteLocked has an event told, outside of the manager's lock.
func (m *Manager) noteLocked(api string, version int, kind EventKind, text string) {
	if m.cfg.OnEvent == nil || m.stopped {
		return
	}
	e := Event{API: api, Version: version, Kind: kind, Text: text, At: time.Now().UTC()}
	m.work.Go(func() { m.cfg.OnEvent(e) })
}

// noteStart tells of a start and where its time went.
func (m *Manager) noteStart(i *Instance) {
	if m.cfg.OnEvent != nil {
		s := i.startup
		m.cfg.OnEvent(Event{API: i.spec.API, Version: i.spec.Version, Kind: EventStarted, Text: s.String(), At: s.Answered.UTC()})
	}
}

// String is one line with the time that each step took.
func (s Startup) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "started in %s", milliseconds(s.Answered.Sub(s.Asked)))
	if s.Warm {
		b.WriteString(" from a sandbox that was ready")
	}
	fmt.Fprintf(&b, ": %s for room", milliseconds(s.Begun.Sub(s.Asked)))
	if !s.Warm {
		fmt.Fprintf(&b, ", %s for the sandbox", milliseconds(s.Standing.Sub(s.Begun)))
	}
	fmt.Fprintf(&b, ", %s to import the program and start it, %s to its first answer", milliseconds(s.Imported.Sub(s.Standing)),
		milliseconds(s.Answered.Sub(s.Imported)))
	return b.String()
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
