package shared_test

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"apibuilder/ratelimit"
	"apibuilder/ratelimit/shared"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a limiter in the test's bubble; the returned function stops it.
func start(t *testing.T, c shared.Config) (*shared.Limiter, func()) {
	t.Helper()
	l := shared.New(c)
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, func() {
		for range 2 {
			if err := l.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
}

func check(limit ratelimit.Limit) ratelimit.Check {
	return ratelimit.Check{Key: "key_1", Policy: "key", Limit: limit}
}

// exceeds returns a span in which more were admitted than one limiter in one process admits: n + w/T in any span w.
func exceeds(limit ratelimit.Limit, admitted []time.Duration) (count int64, span time.Duration, bad bool) {
	slices.Sort(admitted)
	step := limit.Interval()
	for i := range admitted {
		for j := i; j < len(admitted); j++ {
			count, span = int64(j-i+1), admitted[j]-admitted[i]
			if count > limit.Burst()+int64(span/step) {
				return count, span, true
			}
		}
	}
	return 0, 0, false
}

// TestNodesTogetherKeepTheLimit is the promise: whatever nodes die, however late answers come or whether they come at all, at
// whatever pace their clocks go within the margin, the nodes admit in no span more than one node would.
func TestNodesTogetherKeepTheLimit(t *testing.T) {
	seeds, first := 60, rand.Uint64()
	if text := os.Getenv("APIBUILDER_TEST_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds, first = 1, seed
	}
	for i := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) { nodesKeepTheLimit(t, first+i) })
	}
}

func FuzzNodesTogetherKeepTheLimit(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { nodesKeepTheLimit(t, seed) })
	})
}

func nodesKeepTheLimit(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	limit := ratelimit.Limit{Requests: 1 + rng.IntN([]int{3, 20, 300}[rng.IntN(3)]), Per: time.Duration(1 + rng.Int64N(int64(20*time.Second)))}
	b := newBank()
	b.faults = badNetwork(rand.New(rand.NewPCG(seed, 2)))
	began := time.Now()
	var mu sync.Mutex
	var admitted []time.Duration
	var nodes sync.WaitGroup
	for n := range uint64(1 + rng.IntN(4)) {
		nodes.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 3+n))
			for range 1 + rng.IntN(3) { // a node that is killed begins anew and knows nothing
				begin, pace := time.Now(), 1+(rng.Float64()-0.5)/100
				offset := time.Duration(rng.Int64()) / 4 // clocks show anything
				l, stop := start(t, shared.Config{Bank: b, Refuse: true, Now: func() time.Duration {
					return offset + time.Duration(float64(time.Since(begin))*pace)
				}})
				var requests sync.WaitGroup
				mean := float64(limit.Per) / float64(limit.Requests) / (0.2 + 3*rng.Float64())
				for range 120 {
					requests.Go(func() {
						r := l.Allow(check(limit))
						at := time.Since(began)
						if r.Allowed {
							mu.Lock()
							admitted = append(admitted, at)
							mu.Unlock()
						}
					})
					if rng.IntN(8) == 0 {
						time.Sleep(time.Duration(rng.ExpFloat64() * mean * 8))
					}
				}
				requests.Wait()
				stop()
			}
		})
	}
	nodes.Wait()
	if count, span, bad := exceeds(limit, admitted); bad {
		t.Fatalf("seed %d: %v admitted %d in %v", seed, limit, count, span)
	}
	if int64(len(admitted)) > b.given {
		t.Fatalf("seed %d: %d admitted with %d permits", seed, len(admitted), b.given)
	}
}

// TestTheBankMakesUpForTheTimeOfLeases uses a whole burst as late as possible and at once what the bank gives then; without the
// rule that is more than a burst in one moment.
func TestTheBankMakesUpForTheTimeOfLeases(t *testing.T) {
	for valid, want := range map[time.Duration]int64{time.Second: 100, 0: 110} {
		synctest.Test(t, func(t *testing.T) {
			b := newBank()
			ask := []shared.Ask{{Name: "k", Step: 100 * time.Millisecond, Burst: 100, Valid: valid, Want: 1000}}
			first := b.lease(ask)[0].Granted
			time.Sleep(time.Second)
			if got := first + b.lease(ask)[0].Granted; got != want {
				t.Errorf("%d permits are used in one moment, want %d", got, want)
			}
		})
	}
}

// TestABurstAndTheRateAfterIt shows what exactness costs: from a full quota a burst, less what comes back late.
func TestABurstAndTheRateAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank()
		l, stop := start(t, shared.Config{Bank: b})
		defer stop()
		limit := ratelimit.Limit{Requests: 60, Per: time.Minute}
		admitted := 0
		for range 100 {
			if l.Allow(check(limit)).Allowed {
				admitted++
			}
		}
		if admitted < 58 || admitted > 60 {
			t.Errorf("%d of a burst of 60", admitted)
		}
		for range 600 { // ten minutes of one request a second, and one that is too much
			time.Sleep(500 * time.Millisecond)
			l.Allow(check(limit))
			time.Sleep(500 * time.Millisecond)
			if l.Allow(check(limit)).Allowed {
				admitted++
			}
		}
		r := l.Allow(check(limit))
		s := r.States()[0]
		if r.Allowed || r.Denied != check(limit) || r.RetryAfter <= 0 || r.RetryAfter > time.Second || s.Remaining != 0 ||
			s.Reset < 50*time.Second || s.Reset > 62*time.Second {
			t.Errorf("%+v", r)
		}
		if b.given < 655 || b.given > 661 {
			t.Errorf("%d permits were given in ten minutes", b.given)
		}
	})
}

// TestPermitsComeBeforeTheyAreNeeded has a steady consumer, who waits for the bank twice.
func TestPermitsComeBeforeTheyAreNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank()
		b.faults = func() (before, after time.Duration, lost, down bool) { return 2e6, 2e6, false, false }
		l, stop := start(t, shared.Config{Bank: b})
		defer stop()
		limit := ratelimit.Limit{Requests: 100_000, Per: time.Minute}
		waited, admitted := 0, 0
		for range 10_000 {
			began := time.Now()
			if l.Allow(check(limit)).Allowed {
				admitted++
			}
			if time.Since(began) > 0 {
				waited++
			}
			time.Sleep(time.Millisecond)
		}
		if admitted != 10_000 || waited > 12 || b.asked() > 80 {
			t.Errorf("%d admitted, %d waited, the bank was asked %d times", admitted, waited, b.asked())
		}
		if lost := b.given - int64(admitted); lost > 3000 {
			t.Errorf("%d permits were lost", lost)
		}
	})
}

func TestAllOrNoneIsCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := start(t, shared.Config{Bank: newBank()})
		defer stop()
		hour := ratelimit.Limit{Requests: 2, Per: time.Hour}
		key := ratelimit.Check{Key: "k", Policy: "key", Limit: hour}
		api := ratelimit.Check{Key: "a", Policy: "api", Limit: ratelimit.Limit{Requests: 1, Per: time.Hour}}
		if r := l.Allow(key, api, ratelimit.Check{Key: "free", Policy: "plan"}); !r.Allowed || len(r.States()) != 2 {
			t.Fatalf("%+v", r)
		}
		if r := l.Allow(key, api); r.Allowed || r.Denied != api {
			t.Fatalf("%+v", r)
		}
		time.Sleep(300 * time.Millisecond) // for what comes back late
		if r := l.Allow(key); !r.Allowed {
			t.Fatalf("the key was charged for a request that the API's limit held back: %+v", r)
		}
		if r := l.Allow(ratelimit.Check{Key: "k2", Policy: "key", Limit: hour}, ratelimit.Check{Key: "k2", Policy: "key", Limit: hour}); !r.Allowed {
			t.Fatalf("a key that is named twice: %+v", r)
		}
	})
}

// TestADeniedKeyTakesNothingOfTheAPI has a consumer go on beyond the key's limit, on two nodes: the API's permits are not lost.
func TestADeniedKeyTakesNothingOfTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank()
		key := ratelimit.Check{Key: "k", Policy: "key", Limit: ratelimit.Limit{Requests: 10, Per: 10 * time.Second}}
		api := ratelimit.Check{Key: "a", Policy: "api", Limit: ratelimit.Limit{Requests: 60, Per: time.Minute}}
		nodes := []*shared.Limiter{}
		for range 2 {
			l, stop := start(t, shared.Config{Bank: b})
			defer stop()
			nodes = append(nodes, l)
		}
		admitted := int64(0)
		for i := range 60 * 100 {
			if nodes[i%2].Allow(key, api).Allowed {
				admitted++
			}
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		now := b.now()
		taken := (max(b.full["api a"], now) - now) / int64(time.Second)
		if admitted < 65 || taken > 25 {
			t.Errorf("%d were admitted in a minute, and the API lacks %d of 60", admitted, taken)
		}
	})
}

// TestAddressesAreCountedHere keeps keys that anybody can make from the bank.
func TestAddressesAreCountedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank()
		l, stop := start(t, shared.Config{Bank: b})
		defer stop()
		address := ratelimit.Check{Key: "a 192.0.2.1", Policy: "address", Limit: ratelimit.Limit{Requests: 2, Per: time.Hour}, Transient: true}
		other := check(ratelimit.Limit{Requests: 100, Per: time.Hour})
		for i := range 3 {
			r := l.Allow(other, address)
			if r.Allowed != (i < 2) || i < 2 && len(r.States()) != 2 || i == 2 && r.Denied != address {
				t.Fatalf("request %d: %+v", i, r)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if len(b.full) != 1 {
			t.Errorf("the bank knows %v", b.full)
		}
	})
}

// TestWithoutTheBank has it go away and come back.
func TestWithoutTheBank(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBank()
			down := false
			b.faults = func() (_, _ time.Duration, _, _ bool) { return 0, 0, false, down }
			l, stop := start(t, shared.Config{Bank: b, Refuse: refuse})
			defer stop()
			limit := ratelimit.Limit{Requests: 10, Per: time.Hour}
			if !l.Allow(check(limit)).Allowed {
				t.Fatal("denied")
			}
			down = true
			time.Sleep(time.Minute)
			admitted := 0
			for range 20 {
				r := l.Allow(check(limit))
				if r.Allowed {
					admitted++
				}
				if r.Unavailable != refuse {
					t.Fatalf("%+v", r)
				}
			}
			if want := map[bool]int{false: 10, true: 0}[refuse]; admitted != want {
				t.Errorf("%d admitted without the bank, want %d", admitted, want)
			}
			down = false
			time.Sleep(2 * time.Second)
			l.Allow(check(limit))
			time.Sleep(2 * time.Second)
			asks := b.asked()
			if r := l.Allow(check(limit)); !r.Allowed || r.Unavailable || b.asked() == asks {
				t.Errorf("the bank is back: %+v", r)
			}
		})
	}
}

func TestABankThatHangsIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank()
		b.faults = func() (before, after time.Duration, lost, down bool) { return time.Hour, 0, false, false }
		l, stop := start(t, shared.Config{Bank: b})
		defer stop()
		began := time.Now()
		for range 10 {
			l.Allow(check(ratelimit.Limit{Requests: 10, Per: time.Second}))
		}
		if waited := time.Since(began); waited > 3*time.Second {
			t.Errorf("ten requests waited %v", waited)
		}
	})
}

// quick answers without a bank's delay, and gives what is asked for.
type quick struct{}

func (quick) Lease(_ context.Context, asks []shared.Ask) ([]shared.Grant, error) {
	grants := make([]shared.Grant, len(asks))
	for i, a := range asks {
		grants[i] = shared.Grant{Granted: a.Want, Left: a.Burst}
	}
	return grants, nil
}

func BenchmarkAllowThreeChecks(b *testing.B) {
	l := shared.New(shared.Config{Bank: quick{}})
	if err := l.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Stop(context.Background()) }()
	limit := ratelimit.Limit{Requests: 1_000_000_000, Per: time.Second}
	c := []ratelimit.Check{
		{Key: "key_q3f5abcdefghijkl", Policy: "key", Limit: limit},
		{Key: "user_q3f5abcdefghijkl", Policy: "plan", Limit: limit},
		{Key: "api_q3f5abcdefghijkl", Policy: "api", Limit: limit},
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Allow(c[0], c[1], c[2])
	}
}
