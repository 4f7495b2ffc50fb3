package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"apibuilder/sandbox/nsjail"
)

const hostile = `
import os
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
def root(): return "well"
@app.get("/loop")
async def loop():
    while True: pass
@app.get("/eat")
def eat():
    hold = []
    while True: hold.append(bytearray(8 << 20))
@app.get("/exit")
def leave(): os._exit(3)
@app.get("/crash")
def crash(): os.kill(os.getpid(), 11)
`

// TestOneBadProgramHurtsNobodyElse is what the replaced platform could not do: there, each of these ended all APIs.
func TestOneBadProgramHurtsNobodyElse(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example", "--request-timeout", "8s")
	victim := s.deploy("victim", hello, "")
	attackers := map[string]deployed{}
	kinds := map[string]struct {
		status  int
		problem string
	}{
		"loop":  {http.StatusGatewayTimeout, "request_timeout"},
		"eat":   {http.StatusBadGateway, "out_of_memory"},
		"exit":  {http.StatusBadGateway, "crashed"},
		"crash": {http.StatusBadGateway, "crashed"},
	}
	for name := range kinds {
		attackers[name] = s.deploy(name, hostile, "")
	}
	stop := make(chan struct{})
	var served atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			a, err := tryCall(ctx, http.MethodGet, victim.URL+"/", victim.Key, nil)
			cancel()
			if err != nil || a.status != 200 {
				t.Errorf("the victim: status %d, %v: %s", a.status, err, a.body)
				return
			}
			served.Add(1)
		}
	})
	var attacks sync.WaitGroup
	for name, want := range kinds {
		attacks.Go(func() {
			d := attackers[name]
			a := call(t, http.MethodGet, d.URL+"/"+name, d.Key, nil)
			if a.status != want.status || a.problem() != want.problem {
				t.Errorf("/%s: status %d, type %q: want %d, %q\n%s", name, a.status, a.problem(), want.status, want.problem, a.body)
			}
			// The next consumer finds it running again; a looping one is given up once it has failed its probe.
			deadline := time.Now().Add(30 * time.Second)
			for {
				a := call(t, http.MethodGet, d.URL+"/", d.Key, nil)
				if a.status == 200 {
					break
				}
				if time.Now().After(deadline) {
					t.Errorf("after /%s the API does not come back: status %d: %s", name, a.status, a.body)
					break
				}
			}
			if out, err := s.command("apis", "show", name); err != nil || !strings.Contains(out, want.problem) {
				t.Errorf("apis show does not tell of %s: %v\n%s", want.problem, err, out)
			}
			if out, err := s.command("logs", name); err != nil || !strings.Contains(out, "sandbox  the program ended: "+want.problem) {
				t.Errorf("logs does not tell of %s: %v\n%s", want.problem, err, out)
			}
		})
	}
	attacks.Wait()
	close(stop)
	wg.Wait()
	if served.Load() == 0 {
		t.Error("the victim was never asked")
	}
	t.Logf("the victim answered %d requests meanwhile", served.Load())
}

func TestAuthorsReadWhatWasWrong(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example", "--start-timeout", "5s")
	for name, c := range map[string]struct{ code, requirements, reason, text string }{
		"raises":     {"x = {}\nx['missing']", "", "import_error", `line 2, in <module>`},
		"no-app":     {"x = 1", "", "no_app", "app = FastAPI()"},
		"never-ends": {"import time\ndef wait():\n    while True: time.sleep(0.1)\nwait()", "", "start_timeout", "line 3 in wait"},
		"no-package": {hello, "no-such-package-by-that-name==1.0\n", "not_found", "no-such-package-by-that-name"},
		"an-option":  {hello, "fastapi\n-e .\n", "requirements_refused", "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := s.tryDeploy(name, c.code, c.requirements)
			if err == nil {
				t.Fatalf("it was deployed: %s", out)
			}
			var p struct{ Type, Detail string }
			if err := json.Unmarshal([]byte(out), &p); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			if p.Type != c.reason || !strings.Contains(out, c.text) {
				t.Errorf("type %q, want %q with %q\n%s", p.Type, c.reason, c.text, out)
			}
			if _, err := s.command("apis", "show", name); err == nil {
				t.Error("an API is left behind by its first deploy, which failed")
			}
		})
	}
}

func TestAKilledServerLeavesNothingAndLosesNothing(t *testing.T) {
	dir := dataDir(t)
	s := serve(t, dir, "--no-example", "--egress-ceiling", "internet")
	apis := []deployed{s.deploy("one", hello, ""), s.deploy("two", hello, "pillow\n")}
	connected := s.deploy("connected", hello+`
import socket
@app.get("/devices")
def devices(): return sorted(name for _, name in socket.if_nameindex())
`, "", "--set", "egress=internet")
	connected.devices(t)
	stubborn := s.deploy("stubborn", hello+`
import os, signal
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: signal.pause()
`, "")
	var answered atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, d := range apis {
		wg.Go(func() {
			for {
				a, err := tryCall(context.Background(), http.MethodGet, d.URL+"/", d.Key, nil)
				if err != nil {
					return // the server is dead
				}
				if a.status == 200 {
					answered.Add(1)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for answered.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	before := sandboxProcesses(t, dir)
	s.kill()
	close(stop)
	wg.Wait()

	s = serve(t, dir, "--no-example", "--egress-ceiling", "internet")
	// The new server may have processes of its own by now.
	old := func(process string) bool { return slices.Contains(before, process) }
	if left := slices.DeleteFunc(sandboxProcesses(t, dir), func(p string) bool { return !old(p) }); len(left) > 0 || len(before) == 0 {
		t.Errorf("processes of dead sandboxes: %v", left)
	}
	if left := controlGroups(t, dir); len(left) > 0 {
		t.Errorf("control groups of dead sandboxes: %v", left)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), dir) {
		t.Errorf("mounts of the data directory are left:\n%s", mounts)
	}
	out, err := s.command("usage", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var usage struct{ Total int64 }
	if err := json.Unmarshal([]byte(out), &usage); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if usage.Total < answered.Load() || usage.Total > answered.Load()+int64(len(apis)) {
		t.Errorf("%d usage records for %d answers and at most %d in flight", usage.Total, answered.Load(), len(apis))
	}
	for _, d := range append(apis, stubborn) {
		d.URL = s.url + "/run/" + d.ID // the port is another one
		d.get(t, "/")
	}
	connected.URL = s.url + "/run/" + connected.ID
	connected.devices(t)
	s.stop()
	if left := controlGroups(t, dir); len(left) > 0 {
		t.Errorf("after SIGTERM control groups are left: %v", left)
	}
}

// devices looks whether the program has a network.
func (d deployed) devices(t *testing.T) {
	t.Helper()
	if a := call(t, http.MethodGet, d.URL+"/devices", d.Key, nil); string(a.body) != `["lo","tun0"]` {
		t.Errorf("the program's devices are %s", a.body)
	}
}

// sandboxProcesses lists processes whose user is one that sandboxes have, and whose group is this server's.
func sandboxProcesses(t *testing.T, dir string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, proc := range dirs {
		groups, err := os.ReadFile(proc + "/cgroup")
		if err != nil || !strings.Contains(string(groups), nsjail.InstanceName(dir)) {
			continue
		}
		name, _ := os.ReadFile(proc + "/comm")
		var st syscall.Stat_t
		_ = syscall.Stat(proc, &st)
		found = append(found, fmt.Sprintf("%s %s of user %d", proc, strings.TrimSpace(string(name)), st.Uid))
	}
	return found
}

// controlGroups are those of the sandboxes and builds of a server.
func controlGroups(t *testing.T, dir string) (found []string) {
	t.Helper()
	for _, tree := range groupTrees(t, dir) {
		groups, err := filepath.Glob(tree + "/*/cgroup.procs")
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, groups...)
	}
	return found
}

// groupTrees are the control groups in which a server has those of its sandboxes and builds. There are others with such names: builds of the
// tests themselves, of this process and of others.
func groupTrees(t *testing.T, dir string) (found []string) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/apibuilder/", "/sys/fs/cgroup/*/apibuilder/"} {
		for _, end := range []string{"", "-b", "-builds", "-builds-b"} {
			trees, err := filepath.Glob(pattern + nsjail.InstanceName(dir) + end)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, trees...)
		}
	}
	return found
}
