package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/store"
)

func mustEnter(t *testing.T, a *admission, api, key string, l Limits) place {
	t.Helper()
	p, word, err := a.enter(t.Context(), api, key, l, 0)
	if word != "" || err != nil {
		t.Fatalf("%s refused: %s %v", api, word, err)
	}
	return p
}

func TestAFloodLeavesRoom(t *testing.T) {
	var a admission
	l := Limits{Requests: 100}
	flood := func(api string) (held int) {
		for {
			if _, word, _ := a.enter(t.Context(), api, "", l, 0); word != "" {
				if word != wordOverloaded {
					t.Fatalf("refused with %s", word)
				}
				return held
			}
			held++
		}
	}
	if held := flood("a"); held != 50 {
		t.Errorf("one API that is flooded holds %d of 100", held)
	}
	if held := flood("b"); held != 25 {
		t.Errorf("a second one holds %d of 50", held)
	}
	mustEnter(t, &a, "c", "", l).leave()
}

func TestKeysHaveTheirOwnBound(t *testing.T) {
	var a admission
	l := Limits{KeyRequests: 2}
	first := mustEnter(t, &a, "api", "k", l)
	mustEnter(t, &a, "api", "k", l)
	if _, word, _ := a.enter(t.Context(), "api", "k", l, 0); word != wordTooManyAtOnce {
		t.Fatalf("the third: %q", word)
	}
	mustEnter(t, &a, "api", "other", l)
	mustEnter(t, &a, "api", "", l)
	first.leave()
	mustEnter(t, &a, "api", "k", l)
}

func TestQueueIsInOrderAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		l := Limits{APIRequests: 1, Queue: 3}
		running := mustEnter(t, &a, "api", "", l)
		var order []int
		var group sync.WaitGroup
		for i := range 3 {
			group.Go(func() {
				p, word, err := a.enter(t.Context(), "api", "", l, time.Minute)
				if word != "" || err != nil {
					t.Errorf("%d: %q %v", i, word, err)
				}
				order = append(order, i) // one at a time: that is what is tested
				time.Sleep(time.Second)
				p.leave()
			})
			synctest.Wait()
		}
		if _, word, _ := a.enter(t.Context(), "api", "", l, time.Minute); word != wordQueueFull {
			t.Errorf("one too many: %q", word)
		}
		mustEnter(t, &a, "another", "", l).leave()
		running.leave()
		group.Wait()
		if fmt.Sprint(order) != "[0 1 2]" {
			t.Errorf("order %v", order)
		}
		if a.inside != 0 || len(a.lines) != 0 {
			t.Errorf("left over: %d, %v", a.inside, a.lines)
		}
	})
}

func TestQueueIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		l := Limits{APIRequests: 1, Queue: 3}
		running := mustEnter(t, &a, "api", "", l)
		begin := time.Now()
		if _, word, err := a.enter(t.Context(), "api", "", l, time.Minute); word != wordQueueTimeout || err != nil {
			t.Errorf("after its time: %q %v", word, err)
		}
		if time.Since(begin) != time.Minute {
			t.Errorf("after %v", time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, word, err := a.enter(ctx, "api", "", l, time.Minute); word != "" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with its consumer: %q %v", word, err)
		}
		running.leave()
		mustEnter(t, &a, "api", "", l).leave()
		if a.inside != 0 || len(a.lines) != 0 {
			t.Errorf("left over: %d, %v", a.inside, a.lines)
		}
	})
}

// However long a queue is that an owner allows, leaving it costs as little: everybody's requests wait meanwhile.
func TestLeavingALongQueueIsCheap(t *testing.T) {
	var a admission
	l := Limits{APIRequests: 1, Queue: 1 << 20}
	mustEnter(t, &a, "api", "", l)
	const waiting, leaving = 50_000, 100
	var places [leaving]place
	var turns [leaving]*turn
	for i := range places {
		places[i], turns[i], _ = a.join("api", "", l)
	}
	for range waiting {
		a.join("api", "", l)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i, p := range places {
		p.giveUp(turns[i])
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / leaving; each > 4<<10 {
		t.Errorf("leaving %d who wait takes %d bytes", waiting, each)
	}
	if n := a.count("api"); n != 1+waiting {
		t.Errorf("%d are there", n)
	}
}

func TestARaisedBoundLetsThemGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		mustEnter(t, &a, "api", "", Limits{APIRequests: 1, Queue: 3})
		got := make(chan place, 1)
		go func() {
			p, _, _ := a.enter(t.Context(), "api", "", Limits{APIRequests: 1, Queue: 3}, time.Minute)
			got <- p
		}()
		synctest.Wait()
		mustEnter(t, &a, "api", "", Limits{APIRequests: 3, Queue: 3})
		synctest.Wait()
		select {
		case <-got:
		default:
			t.Error("it waits still")
		}
	})
}

// Nobody comes and nobody leaves when the owner of an API raises its bound.
func TestARaisedBoundIsLookedFor(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 10)
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	bound := func(most int) {
		d.store.updateAPI("api_private", func(a *store.API) {
			a.Options = store.Options{MaxRequests: most, Queue: 10, QueueTimeout: time.Hour}
		})
	}
	bound(1)
	done := make(chan got, 10)
	for range 3 {
		go func() { done <- d.do(d.request("GET", "/run/private/", nil)) }()
	}
	within(t, "arrival", arrived)
	for d.gateway.admission.count("api_private") < 3 { // nothing tells that they wait
		time.Sleep(time.Millisecond)
	}
	bound(2)
	within(t, "arrival of the second", arrived)
	select {
	case <-arrived:
		t.Error("there are three with a bound of two")
	default:
	}
	close(release)
	for range 3 {
		if answer := within(t, "answer", done); answer.StatusCode != 200 {
			t.Errorf("status %d", answer.StatusCode)
		}
	}
}

// Whatever comes, waits, gives up and leaves: the bounds hold at every moment, and nothing is left in the end.
func TestAdmissionUnderChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		l := Limits{Requests: 60, APIRequests: 3, KeyRequests: 8, Queue: 10}
		var group sync.WaitGroup
		for i := range 2000 {
			group.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				time.Sleep(time.Duration(r.IntN(10_000)) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+r.IntN(300))*time.Millisecond)
				defer cancel()
				api := fmt.Sprint(r.IntN(4))
				p, word, err := a.enter(ctx, api, api+fmt.Sprint(r.IntN(3)), l, time.Duration(1+r.IntN(200))*time.Millisecond)
				if word != "" || err != nil {
					return
				}
				a.mu.Lock()
				if p.line.running > l.APIRequests || a.inside > l.Requests || p.line.waiting.Len() > l.Queue {
					t.Errorf("running %d, inside %d, waiting %d", p.line.running, a.inside, p.line.waiting.Len())
				}
				a.mu.Unlock()
				time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
				p.leave()
			})
		}
		group.Wait()
		if a.inside != 0 || len(a.lines) != 0 {
			t.Errorf("left over: %d, %v", a.inside, a.lines)
		}
	})
}

// A flood on one API waits and is refused, and another API is served meanwhile.
// Those who wait for a program that wakes are bounded in number and time, as those who wait for one that runs.
func TestWhoWaitsForAStartIsBounded(t *testing.T) {
	d := newDoor(t, Config{StartTimeout: 300 * time.Millisecond}, func(http.ResponseWriter, *http.Request) {})
	d.sandboxes.block = true // it never wakes
	d.store.updateAPI("api_private", func(a *store.API) {
		a.Options = store.Options{MaxRequests: 2, Queue: 1, QueueTimeout: time.Hour}
	})
	done := make(chan got, 3)
	for n := range 3 {
		go func() { done <- d.do(d.request("GET", "/run/private/", nil)) }()
		for d.gateway.admission.count("api_private") < n+1 { // nothing tells that it waits
			time.Sleep(time.Millisecond)
		}
	}
	refused := d.do(d.request("GET", "/run/private/", nil))
	refused.wantProblem(t, 503, wordQueueFull)
	if refused.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for range 3 { // the third waits for the program only after another has given up
		within(t, "an answer", done).wantProblem(t, 504, wordRequestTimeout)
	}
}

func TestAFloodIsAnswered(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 10)
	d := newDoor(t, Config{Limits: Limits{Requests: 20}}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-release
		}
	})
	done := make(chan got, 10)
	begin := func(target string) { go func() { done <- d.do(d.request("GET", target, nil)) }() }
	refused := func(status int, word string) {
		t.Helper()
		answer := d.do(d.request("GET", "/run/private/", nil))
		answer.wantProblem(t, status, word)
		if answer.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	d.store.updateAPI("api_private", func(a *store.API) {
		a.Options = store.Options{MaxRequests: 1, Queue: 1, QueueTimeout: time.Hour}
	})
	begin("/run/private/slow")
	within(t, "arrival", arrived)
	begin("/run/private/")
	for d.gateway.admission.count("api_private") < 2 { // nothing tells that it waits
		time.Sleep(time.Millisecond)
	}
	refused(503, wordQueueFull)
	if other := d.do(d.request("GET", "/run/public/", nil)); other.StatusCode != 200 {
		t.Errorf("another API: %d", other.StatusCode)
	}
	release <- struct{}{}
	for range 2 {
		if answer := within(t, "answer", done); answer.StatusCode != 200 {
			t.Errorf("status %d", answer.StatusCode)
		}
	}

	d.store.updateAPI("api_private", func(a *store.API) { a.Options = store.Options{MaxRequestsPerKey: 1} })
	begin("/run/private/slow")
	within(t, "arrival", arrived)
	refused(429, wordTooManyAtOnce)
	release <- struct{}{}
	within(t, "answer", done)
}

// count is how many requests an API has.
func (a *admission) count(api string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.lines[api]; l != nil {
		return l.inside
	}
	return 0
}
