package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/urfave/cli/v3"
	"go.uber.org/zap"

	"apibuilder/egress"
	"apibuilder/store"
)

// readEgress reads the operator's side of what programs reach. Its errors are usage errors.
func readEgress(s settings) (c egress.Config, err error) {
	c.Ceiling = &egress.Ceiling{}
	if c.Ceiling.Most, err = parse(s, "egress-ceiling", egress.Parse); err != nil {
		return c, err
	}
	if c.Ceiling.Private, err = parse(s, "egress-allow-private", egress.ParsePrivate); err != nil {
		return c, err
	}
	if c.Limits.Connections, err = parse(s, "egress-connections", parseCount); err != nil {
		return c, err
	}
	if c.Limits.PerSecond, err = parse(s, "egress-rate", parseCount); err != nil {
		return c, err
	}
	bandwidth, err := parse(s, "egress-bandwidth", parseSize)
	if err != nil {
		return c, err
	}
	c.Limits.Bandwidth = int(bandwidth)
	if c.Buffers, err = machineMemory(buffersPart); err != nil {
		return c, err
	}
	files, err := openFiles()
	c.Files = files / filesPart
	return c, err
}

// What the connections of all programs to outside may take of this process.
const (
	buffersPart = 32 // of the machine's memory, each way
	filesPart   = 4  // of the limit of open files
)

// gate is nil where nothing outside can be reached.
func (s *server) gate() *egress.Gate {
	if !reachable(s.options.egress.Ceiling) {
		return nil
	}
	return egress.NewGate(s.options.egress)
}

// reachable reports whether any API may reach anything.
func reachable(c *egress.Ceiling) bool { return !c.Most.None() || len(c.Private) > 0 }

// egressFollower brings changes of what an API may reach to its running programs: the store tells that an API changed, and
// it is read again, until that works. One that was told of by its name is read before those that are only among all.
type egressFollower struct {
	read  func(ctx context.Context, apiID string) (egress.Policy, error)
	set   func(apiID string, p egress.Policy)
	all   func() []string
	log   *zap.Logger
	retry time.Duration

	wake    chan struct{}
	mu      sync.Mutex
	changed map[string]struct{}
	perhaps map[string]struct{} // some may have changed
}

func newEgressFollower(
	read func(context.Context, string) (egress.Policy, error), set func(string, egress.Policy), all func() []string, log *zap.Logger,
) *egressFollower {
	return &egressFollower{
		read: read, set: set, all: all, log: log, retry: time.Second,
		wake: make(chan struct{}, 1), changed: map[string]struct{}{}, perhaps: map[string]struct{}{},
	}
}

// followEgress runs a follower until the server stops, where anything can be reached.
func (s *server) followEgress() {
	if !reachable(s.options.egress.Ceiling) {
		return
	}
	f := newEgressFollower(s.deployer.Egress, s.manager.SetEgress, s.manager.EgressRunning, s.log.Named("egress"))
	s.background("following of egress", f.run)
	cancel := s.store.Subscribe(f.note)
	s.onStop("subscription of egress", func(context.Context) error {
		cancel()
		return nil
	})
}

// note remembers a change. One that is about no API may be about any.
func (f *egressFollower) note(c store.Change) {
	ids, to := []string{c.APIID}, f.changed
	if c.APIID == "" {
		ids, to = f.all(), f.perhaps
	}
	f.remember(to, ids...)
	f.kick()
}

func (f *egressFollower) remember(to map[string]struct{}, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		to[id] = struct{}{}
	}
}

func (f *egressFollower) kick() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// next takes one that is to be read.
func (f *egressFollower) next() (id string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ids := range []map[string]struct{}{f.changed, f.perhaps} {
		for id := range ids {
			delete(f.changed, id)
			delete(f.perhaps, id)
			return id, true
		}
	}
	return "", false
}

func (f *egressFollower) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		var failed []string
		for id, ok := f.next(); ok; id, ok = f.next() {
			if !f.follow(ctx, id) {
				failed = append(failed, id)
			}
		}
		if len(failed) > 0 {
			f.remember(f.changed, failed...)
			select {
			case <-ctx.Done():
				return
			case <-time.After(f.retry):
				f.kick()
			}
		}
	}
}

// follow reports whether an API could be read.
func (f *egressFollower) follow(ctx context.Context, id string) bool {
	policy, err := f.read(ctx, id)
	switch {
	case err == nil:
		f.set(id, policy)
	case errors.Is(err, store.ErrNotFound):
	case ctx.Err() == nil:
		f.log.Warn("a change of what an API may reach waits for the store", zap.String("api", id), zap.Error(err))
		return false
	}
	return true
}

// egressFlags are those settings of serve that bound what programs reach.
func egressFlags() []cli.Flag {
	return serveFlags("egress-ceiling", "egress-allow-private", "egress-connections", "egress-rate", "egress-bandwidth")
}

// egressRows show what programs reached; nil: nothing was tried.
func egressRows(w io.Writer, e *egress.Report) {
	if e == nil {
		return
	}
	row(w, "Egress", fmt.Sprintf("%d connections (%d open), %s sent, %s received, %d refused", e.Connections, e.Open,
		formatSize(e.Sent), formatSize(e.Received), e.Refused))
	fmt.Fprintln(w)
	row(w, "REACHED", "CONNECTIONS", "SENT", "RECEIVED", "REFUSED")
	for _, d := range e.Destinations {
		row(w, printable(d.To), d.Connections, formatSize(d.Sent), formatSize(d.Received), d.Refused)
	}
}
