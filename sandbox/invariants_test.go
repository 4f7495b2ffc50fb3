package sandbox

import (
	"context"
	"fmt"
	"time"
)

// check looks at everything at a moment when nothing moves.
func (w *world) check(when string) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	counted := 0
	for api, s := range w.m.apis {
		counted += len(s.leaving)
		for i, l := range s.leaving {
			if l.given && i.inflight.Load() > 0 {
				w.failf("%s: an instance of %s with requests in flight was given up for its place", when, api)
			}
		}
		w.mu.Lock()
		if traffic := trafficOf(api, s.sharesLocked()); len(s.fleets) > 0 && !w.ever[traffic] {
			w.errs = append(w.errs, fmt.Errorf("%s: requests go to %s, which nobody asked for", when, traffic))
		}
		w.mu.Unlock()
		for _, f := range s.fleets {
			counted += len(f.instances) + len(f.used) + f.starts
			w.checkFleet(when, api, f)
		}
	}
	// Deploys hold places that no slot shows, and starts may still wait for theirs.
	if w.m.live < counted-w.startsLocked() || w.m.live > w.m.cfg.MaxSandboxes || w.m.live < 0 {
		w.failf("%s: %d places are taken, %d instances are known", when, w.m.live, counted)
	}
	if running := w.d.count() - w.warm(); running > w.m.live {
		w.failf("%s: %d sandboxes run, %d places are taken", when, running, w.m.live)
	}
	if w.m.room.giving < 0 || w.m.room.making < 0 || w.m.room.making > w.m.live {
		w.failf("%s: %+v", when, w.m.room)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.leases {
		if exit := l.Instance.Exit(); exit != nil && exit.Reason == Draining && exit.At.Sub(l.started) < w.m.cfg.DrainTimeout && exit.Detail == "" {
			w.errs = append(w.errs, fmt.Errorf("%s: an instance of %s was ended with a request in flight", when, l.api))
		}
	}
}

func (w *world) startsLocked() (n int) {
	for _, s := range w.m.apis {
		for _, f := range s.fleets {
			n += f.starts
		}
	}
	return n
}

// warm is how many sandboxes have no program, those that start included.
func (w *world) warm() int {
	p := w.m.launcher.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 1 // one may be starting
	for _, s := range p.shelves {
		n += len(s.waiting)
	}
	return n
}

func (w *world) checkFleet(when, api string, f *fleet) {
	if f.retired || f.starts < 0 || f.optional < 0 || f.optional > f.starts || f.leaving < 0 || f.waiters < 0 {
		w.failf("%s: %s has the fleet %+v", when, api, f)
	}
	if f.waiters == 0 && len(f.line) == 0 {
		return
	}
	if f.starts == 0 && f.waiters > 0 {
		w.failf("%s: %d wait for a start of %s that nobody makes", when, f.waiters, api)
	}
	if _, most := f.boundsLocked(); len(f.line) > 0 && f.starts == 0 && f.countLocked() < most {
		w.failf("%s: %d stand in line for %s, and nobody makes a sandbox", when, len(f.line), api)
	}
}

// end stops the manager with whatever is under way, and looks for what is left.
func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.m.Stop(ctx); err != nil {
		w.failf("stop: %w", err)
	}
	w.wg.Wait()
	for len(w.leases) > 0 {
		w.release(0)
	}
	time.Sleep(time.Minute) // programs that were ended while they slept
	if w.m.live != 0 || w.d.count() != 0 || len(w.m.room.queue) != 0 || w.m.room.making != 0 || w.m.room.giving != 0 {
		w.failf("after Stop: %d places, %d sandboxes, %+v", w.m.live, w.d.count(), w.m.room)
	}
	for api, s := range w.m.apis {
		if len(s.leaving) > 0 || s.livesLocked() {
			w.failf("after Stop: something of %s is left", api)
		}
	}
}
