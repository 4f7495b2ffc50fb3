package endtoend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// shown is what `apis show --json` says of what runs.
type shown struct {
	Running   bool `json:"running"`
	Instances []struct {
		Version  int    `json:"version"`
		State    string `json:"state"`
		InFlight int    `json:"in_flight"`
	} `json:"instances"`
}

func (s *server) showAPI(name string) (a shown) {
	s.t.Helper()
	out, err := s.command("apis", "show", name, "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &a)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// serving counts the instances that serve.
func (a shown) serving() (n int) {
	for _, i := range a.Instances {
		if i.State == "serving" {
			n++
		}
	}
	return n
}

// TestTrafficIsSplitAndMovesWithoutAGap splits requests, moves them about under load, and restarts the server in between.
func TestTrafficIsSplitAndMovesWithoutAGap(t *testing.T) {
	dir := dataDir(t)
	s := serve(t, dir, "--no-example")
	d := s.deploy("split", program("one"), "", "--public")
	s.deploy("split", program("two"), "")
	s.must("traffic", "split", "v1=1", "v2=1")
	even := func() {
		t.Helper()
		got := map[string]int{}
		for range 100 {
			got[string(d.get(t, "/").body)]++
		}
		if got[`"one"`] < 20 || got[`"two"`] < 20 { // less than once in a billion when both are as likely
			t.Errorf("of 100 requests: %v", got)
		}
	}
	even()
	s.stop()
	s = serve(t, dir, "--no-example")
	d.URL = s.url + "/run/" + d.ID
	even()
	var l load
	l.begin(t, d, 8)
	for _, move := range [][]string{
		{"promote", "split", "v2"},
		{"traffic", "split", "v1=9", "v2=1"},
		{"rollback", "split"},
		{"traffic", "split", "v1=1", "v2=1000"},
		{"promote", "split"},
		{"apis", "sleep", "split"},
	} {
		s.must(move...)
		l.reaches(t, 50)
	}
	close(l.stop)
	l.wait.Wait()
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, the first with %s", l.failed.Load(), l.served.Load(), l.first)
	}
	if got := string(d.get(t, "/").body); got != `"two"` {
		t.Errorf("%s serves in the end", got)
	}
}

func (s *server) must(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

const slow = `
import time
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
def root():
    time.sleep(0.3)
    return "done"
`

// TestInstancesFollowRequests has an API grow, and keeps one that always runs over a restart and a crash.
func TestInstancesFollowRequests(t *testing.T) {
	dir := dataDir(t)
	s := serve(t, dir, "--no-example")
	d := s.deploy("grows", slow, "", "--public", "--set", "max-instances=3", "--set", "concurrency-target=1")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 6 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if a, err := tryCall(t.Context(), http.MethodGet, d.URL+"/", "", nil); err != nil || a.status != http.StatusOK {
						t.Errorf("%d %s, %v", a.status, a.body, err)
						return
					}
				}
			}
		})
	}
	eventually(t, "a third instance", func() bool { return s.showAPI("grows").serving() == 3 })
	close(stop)
	wg.Wait()
	if n := s.showAPI("grows").serving(); n > 3 {
		t.Errorf("%d instances of at most 3", n)
	}

	s.must("apis", "update", "grows", "--set", "min-instances=1")
	s.stop()
	s = serve(t, dir, "--no-example")
	eventually(t, "an instance without a request", func() bool { return s.showAPI("grows").serving() == 1 })
	s.must("apis", "sleep", "grows")
	eventually(t, "sleep", func() bool { return len(s.showAPI("grows").Instances) == 0 })
	s.must("apis", "wake", "grows")
	if n := s.showAPI("grows").serving(); n != 1 {
		t.Errorf("%d instances after it woke", n)
	}
}

// TestAFullNode lets three APIs share two places.
func TestAFullNode(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example", "--max-sandboxes", "2")
	var apis []deployed
	for n := range 3 {
		apis = append(apis, s.deploy(fmt.Sprintf("api%d", n), strings.Replace(slow, "0.3", "8", 1), "", "--public"))
	}
	answers := make(chan answer, 3)
	var began sync.WaitGroup
	for _, d := range apis {
		began.Add(1)
		go func() {
			began.Done()
			a, err := tryCall(t.Context(), http.MethodGet, d.URL+"/", "", nil)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	began.Wait()
	full := 0
	for range apis {
		switch a := <-answers; {
		case a.status == http.StatusServiceUnavailable && a.problem() == "no_room" && a.header.Get("Retry-After") != "":
			full++
		case a.status != http.StatusOK:
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if full != 1 {
		t.Errorf("%d of three requests found no room, want one", full)
	}
	for _, d := range apis { // one after the other they all fit
		d.get(t, "/docs")
	}
}
