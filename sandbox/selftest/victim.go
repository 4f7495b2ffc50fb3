package selftest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"apibuilder/sandbox"
)

// Latency is how requests to the victim fared over some time.
type Latency struct {
	Requests   int     `json:"requests"`
	Errors     int     `json:"errors"`
	P50Seconds float64 `json:"p50_seconds"`
	P99Seconds float64 `json:"p99_seconds"`
}

const (
	quietTime      = 1500 * time.Millisecond // how long the victim is asked before the first attack
	askEvery       = 5 * time.Millisecond
	victimPatience = 10 * time.Second // one answer of a victim may take so long before it counts as an error
)

var victimLimits = sandbox.Limits{MemoryBytes: 128 << 20, CPU: 1, Pids: 32, TmpBytes: 8 << 20}

// victim is an API in a sandbox of its own, asked all the time.
type victim struct {
	*scene
	at     holding // at its start
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	samples []sample
	err     error
}

// holding is what a victim finds in its /tmp.
type holding struct {
	File  string   `json:"file"` // the text of its own file
	Names []string `json:"names"`
}

type sample struct {
	at     time.Time
	took   time.Duration
	failed bool
}

// startVictim returns when the victim has been asked for the quiet time and nothing else ran.
func (r *run) startVictim(ctx context.Context, quiet time.Duration) error {
	s, err := r.launch(ctx, launch{files: []string{"victim"}, limits: victimLimits, secret: r.bait.secret})
	if err != nil {
		return fmt.Errorf("start the victim: %w", err)
	}
	r.victim = &victim{scene: s}
	if r.victim.at, err = r.victim.look(ctx); err != nil {
		s.end()
		return err
	}
	ask, cancel := context.WithCancel(ctx)
	r.victim.cancel = cancel
	r.began = time.Now()
	r.victim.wg.Go(func() { r.victim.ask(ask) })
	select {
	case <-time.After(quiet):
	case <-ctx.Done():
		r.victim.stop()
		return ctx.Err()
	}
	r.attacksBegan = time.Now()
	return nil
}

// ask sends one request after the other until ctx ends.
func (v *victim) ask(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		_, err := v.get(ctx, "/", victimPatience)
		if ctx.Err() != nil {
			return
		}
		v.mu.Lock()
		v.samples = append(v.samples, sample{began, time.Since(began), err != nil})
		if err != nil {
			v.err = err
		}
		v.mu.Unlock()
	}
}

func (v *victim) look(ctx context.Context) (holding, error) {
	return ask[holding](ctx, v.scene, "/mine", victimPatience)
}

func (v *victim) stop() {
	v.cancel()
	v.wg.Wait()
	v.end()
}

func (v *victim) lastError() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// latency sums up the requests that were under way between two moments.
func (v *victim) latency(from, to time.Time) Latency {
	v.mu.Lock()
	defer v.mu.Unlock()
	var l Latency
	var took []time.Duration
	for _, s := range v.samples {
		if s.at.Add(s.took).Before(from) || s.at.After(to) {
			continue
		}
		l.Requests++
		if s.failed {
			l.Errors++
		}
		took = append(took, s.took)
	}
	slices.Sort(took)
	l.P50Seconds, l.P99Seconds = percentile(took, 0.5), percentile(took, 0.99)
	return l
}

// percentile of sorted values by nearest rank, in seconds; 0 of none.
func percentile(sorted []time.Duration, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(p*float64(len(sorted))))-1)].Seconds()
}
