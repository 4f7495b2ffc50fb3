package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/store"
)

func TestKnownThingsAreNotReadAgain(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.get("/run/private/")
	d.get("/run/api_private/")
	before := d.store.count()
	for range 10 {
		d.get("/run/private/")
		d.get("/run/api_private/")
	}
	if n := d.store.count() - before; n != 0 {
		t.Errorf("%d reads of the store for a known API and key", n)
	}
}

func TestRevocationActsAtOnce(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	if got := d.get("/run/private/"); got.StatusCode != 200 {
		t.Fatalf("status %d", got.StatusCode)
	}
	d.store.revoke(testKey)
	d.get("/run/private/").wantProblem(t, 401, wordInvalidKey)
}

func TestChangesActAtOnce(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.get("/run/later/").wantProblem(t, 404, wordUnknownAPI)
	d.get("/run/new/").wantProblem(t, 502, wordNotDeployed)
	d.store.updateAPI("api_new", func(a *store.API) { a.ActiveVersion = 1 })
	if got := d.get("/run/new/"); got.StatusCode != 200 {
		t.Errorf("after its first version: status %d", got.StatusCode)
	}
	d.store.updateAPI("api_later", func(a *store.API) {
		*a = store.API{ID: "api_later", Name: "later", UserID: "operator", ActiveVersion: 1, Public: true}
	})
	if got := d.get("/run/later/"); got.StatusCode != 200 {
		t.Errorf("after it was created: status %d", got.StatusCode)
	}
	d.store.change(func() store.Change {
		delete(d.store.apis, "api_later")
		return store.Change{APIID: "api_later"}
	})
	d.get("/run/later/").wantProblem(t, 404, wordUnknownAPI)
	d.store.change(func() store.Change {
		d.store.plans["default"] = store.Plan{Name: "default", Rate: store.Rate{Requests: 1, Per: time.Hour}}
		return store.Change{}
	})
	if got := d.get("/run/private/"); got.Header.Get("RateLimit-Policy") != `"plan";q=1;w=3600` {
		t.Errorf("after the plan changed: %v", got.Header)
	}
}

// A key that is revoked while it is being read must not be remembered as valid.
func TestLoadDuringChangeIsNotRemembered(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	var revoked atomic.Bool
	d.store.before = func(what string) {
		if what == "key" && !revoked.Swap(true) {
			d.store.revoke(testKey)
		}
	}
	d.get("/run/private/") // either answer is right: it ran beside the revocation
	d.get("/run/private/").wantProblem(t, 401, wordInvalidKey)
}

// An API that is made private while it is being read must not be remembered as public.
func TestAPIReadDuringChangeIsNotRemembered(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	var closed atomic.Bool
	d.store.before = func(string) {
		if !closed.Swap(true) {
			d.store.updateAPI("api_public", func(a *store.API) { a.Public = false })
		}
	}
	for _, status := range []int{200, 401} { // the first ran beside the change
		r, _ := http.NewRequest("GET", d.url+"/run/public/", nil)
		if got := d.do(r); got.StatusCode != status {
			t.Errorf("status %d, want %d", got.StatusCode, status)
		}
	}
}

// The same for a key that is created while a guess at it is being read.
func TestRefusalDuringChangeIsNotRemembered(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	delete(d.store.keys, store.HashSecret(testKey))
	var created atomic.Bool
	d.store.before = func(what string) {
		if what == "key" && !created.Swap(true) {
			d.store.change(func() store.Change {
				d.store.addKey("key_1", "api_private", testKey)
				return store.Change{APIID: "api_private"}
			})
		}
	}
	d.get("/run/private/").wantProblem(t, 401, wordInvalidKey)
	if got := d.get("/run/private/"); got.StatusCode != 200 {
		t.Errorf("status %d after the key was created", got.StatusCode)
	}
}

// Who asks after a change must not share a read that began before it.
func TestLoadsAreNotSharedAcrossChanges(t *testing.T) {
	st := newFakeStore()
	d := newDirectory(st, uncounted())
	defer d.close()
	e, err := d.api(context.Background(), "private")
	if err != nil {
		t.Fatal(err)
	}
	reading, goOn := make(chan struct{}), make(chan struct{})
	var begun atomic.Bool
	st.before = func(what string) {
		if what == "key" && !begun.Swap(true) {
			close(reading)
			<-goOn
		}
	}
	first := make(chan *pass, 1)
	go func() {
		p, _ := d.pass(context.Background(), e, testKey)
		first <- p
	}()
	within(t, "first read", reading)
	st.revoke(testKey)
	p, err := d.pass(context.Background(), e, testKey)
	if err != nil || p.apiID != "" {
		t.Errorf("after the revocation: %+v, %v", p, err)
	}
	close(goOn)
	within(t, "first answer", first)
	if p, _ := d.pass(context.Background(), e, testKey); p.apiID != "" {
		t.Errorf("the old read was remembered: %+v", p)
	}
}

func TestOneReadForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newFakeStore()
		d := newDirectory(st, uncounted())
		defer d.close()
		goOn := make(chan struct{})
		st.before = func(string) { <-goOn }
		impatient, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := d.api(impatient, "private"); !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up got %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			group.Go(func() {
				if _, err := d.api(context.Background(), "private"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel() // must not end the read for the others
		synctest.Wait()
		close(goOn)
		group.Wait()
		if e, _ := d.api(context.Background(), "api_private"); e == nil || st.count() != 1 {
			t.Errorf("%d reads", st.count())
		}
	})
}

func TestReadsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newFakeStore()
		d := newDirectory(st, uncounted())
		defer d.close()
		goOn := make(chan struct{})
		var at atomic.Int32
		st.before = func(string) { at.Add(1); <-goOn }
		var group sync.WaitGroup
		var late atomic.Int32
		for i := range 2 * mostLoads {
			group.Go(func() {
				if _, err := d.api(context.Background(), fmt.Sprintf("guess-%d", i)); errors.Is(err, errStore) {
					late.Add(1)
				}
			})
		}
		synctest.Wait()
		if at.Load() != mostLoads {
			t.Errorf("%d reads at once", at.Load())
		}
		time.Sleep(loadTimeout)
		synctest.Wait()
		if late.Load() != mostLoads {
			t.Errorf("%d of those who waited were told so", late.Load())
		}
		close(goOn)
		group.Wait()
	})
}

// Who asks for what nobody has, and leaves at once, has neither memory held nor the store asked, and comes before nobody who waits.
func TestReadsThatNobodyWaitsForAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newFakeStore()
		d := newDirectory(st, uncounted())
		defer d.close()
		e, err := d.api(t.Context(), "private")
		if err != nil {
			t.Fatal(err)
		}
		goOn := make(chan struct{})
		st.before = func(string) { <-goOn }
		var group sync.WaitGroup
		for i := range mostLoads {
			group.Go(func() { _, _ = d.api(t.Context(), fmt.Sprintf("slow-%d", i)) })
		}
		synctest.Wait()
		before := runtime.NumGoroutine()
		guesses, leave := context.WithCancel(t.Context())
		for i := range 1000 {
			group.Go(func() { _, _ = d.api(guesses, fmt.Sprintf("guess-%d", i)) })
			group.Go(func() { _, _ = d.pass(guesses, e, fmt.Sprintf("ab_%032d", i)) })
		}
		synctest.Wait()
		stays := make(chan error, 1)
		go func() {
			_, err := d.api(t.Context(), "public")
			stays <- err
		}()
		synctest.Wait()
		leave()
		synctest.Wait()
		if held := runtime.NumGoroutine() - before; held > 10 {
			t.Errorf("%d goroutines for reads that nobody waits for", held)
		}
		close(goOn)
		if err := <-stays; err != nil {
			t.Errorf("who has stayed: %v", err)
		}
		group.Wait()
		if n := st.count(); n != 1+mostLoads+1 {
			t.Errorf("%d reads of the store", n)
		}
	})
}

func TestGuessingIsBounded(t *testing.T) {
	st := newFakeStore()
	d := newDirectory(st, uncounted())
	defer d.close()
	ctx := context.Background()
	e, _ := d.api(ctx, "private")
	if _, err := d.pass(ctx, e, testKey); err != nil {
		t.Fatal(err)
	}
	for i := range mostStranger + 1000 {
		if p, err := d.pass(ctx, e, fmt.Sprintf("ab_%032d", i)); err != nil || p.apiID != "" {
			t.Fatal(p, err)
		}
	}
	for i := range mostUnknown + 1000 {
		if _, err := d.api(ctx, fmt.Sprintf("guess-%d", i)); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if len(d.strangers) > mostStranger || len(d.unknown) > mostUnknown || len(d.apis) != 2 || d.keys != 1 {
		t.Errorf("%d strangers, %d unknown, %d APIs, %d keys", len(d.strangers), len(d.unknown), len(d.apis), d.keys)
	}
	before := st.count()
	_, _ = d.api(ctx, "private")
	_, _ = d.pass(ctx, e, testKey)
	if st.count() != before {
		t.Error("guessing pushed out what is in use")
	}
}

func TestKnownThingsAreBounded(t *testing.T) {
	st := newFakeStore()
	d := newDirectory(st, uncounted())
	defer d.close()
	ctx := context.Background()
	e, _ := d.api(ctx, "private")
	d.keys = mostKeys // as after so many loads
	if p, err := d.pass(ctx, e, testKey); err != nil || p.apiID != e.id {
		t.Fatal(p, err)
	}
	if len(d.apis) != 0 || d.keys != 0 {
		t.Errorf("%d APIs, %d keys after the bound was reached", len(d.apis), d.keys)
	}
	for i := range 2 * mostAPIs {
		d.apis[fmt.Sprint(i)] = e
	}
	_, _ = d.api(ctx, "public")
	if len(d.apis) != 2 {
		t.Errorf("%d APIs after the bound was reached", len(d.apis))
	}
}

func TestStoreOutage(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.get("/run/private/")
	d.store.mu.Lock()
	d.store.err = errors.New("database: secret detail")
	d.store.mu.Unlock()
	if got := d.get("/run/private/"); got.StatusCode != 200 {
		t.Errorf("a known API needs the store: status %d", got.StatusCode)
	}
	got := d.get("/run/public/")
	got.wantProblem(t, 503, wordStoreUnavailable)
	if got.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	d.store.mu.Lock()
	d.store.err = nil
	d.store.mu.Unlock()
	if got := d.get("/run/public/"); got.StatusCode != 200 {
		t.Errorf("the outage was remembered: status %d", got.StatusCode)
	}
}

func TestAPIWithoutOwnerIsNotUnlimited(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.store.updateAPI("api_public", func(a *store.API) { a.UserID = "user_gone" })
	d.get("/run/public/").wantProblem(t, 503, wordStoreUnavailable)
}

// away makes every read of the store fail, or work again.
func (s *fakeStore) away(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// TestKnownAPIsAreServedWithoutTheStore is an outage of any length, with a change of plans just before it.
func TestKnownAPIsAreServedWithoutTheStore(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	for _, path := range []string{"/run/private/", "/run/api_private/", "/run/public/"} {
		d.get(path)
	}
	d.store.change(func() store.Change { return store.Change{} })
	d.store.away(errors.New("connection refused"))
	for range 20 {
		for _, path := range []string{"/run/private/", "/run/api_private/", "/run/public/"} {
			if got := d.get(path); got.StatusCode != 200 {
				t.Fatalf("%s: status %d", path, got.StatusCode)
			}
		}
	}
	d.get("/run/docs/").wantProblem(t, 503, wordStoreUnavailable) // never called before
	d.store.away(nil)
	d.get("/run/docs/openapi.json")
	d.store.revoke(testKey)
	d.get("/run/private/").wantProblem(t, 401, wordInvalidKey)
}

// TestAKeyIsNotGoodAgainWithoutTheStore revokes one right before the outage.
func TestAKeyIsNotGoodAgainWithoutTheStore(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.get("/run/private/")
	d.store.change(func() store.Change { return store.Change{} })
	d.store.revoke(testKey)
	d.store.away(errors.New("connection refused"))
	d.get("/run/private/").wantProblem(t, 503, wordStoreUnavailable)
}

// TestAStoreThatHangsHoldsNobodyUp has an answer at hand while the store gives none.
func TestAStoreThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newFakeStore()
		d := newDirectory(st, uncounted())
		defer d.close()
		if _, err := d.api(t.Context(), "public"); err != nil {
			t.Fatal(err)
		}
		st.change(func() store.Change { return store.Change{} })
		release := make(chan struct{})
		st.before = func(string) { <-release }
		began := time.Now()
		for range 10 {
			if e, err := d.api(t.Context(), "public"); err != nil || e.id != "api_public" {
				t.Fatalf("%+v, %v", e, err)
			}
		}
		if waited := time.Since(began); waited != staleWait {
			t.Errorf("waited %v", waited)
		}
		close(release)
		synctest.Wait()
	})
}
