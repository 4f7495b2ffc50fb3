package pythonenv

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// folderIndex is a package index (PEP 503) of the wheels in a folder, which notes who asked for what.
type folderIndex struct {
	*httptest.Server
	dir  string
	user string // that is asked for; empty: nobody is

	mu    sync.Mutex
	asked []string
	auth  []string
}

func newIndex(t *testing.T, user string) *folderIndex {
	t.Helper()
	x := &folderIndex{dir: tempDir(t), user: user}
	x.Server = httptest.NewServer(x)
	t.Cleanup(x.Close)
	return x
}

func (x *folderIndex) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	x.asked = append(x.asked, r.URL.Path)
	x.auth = append(x.auth, r.Header.Get("Authorization"))
	x.mu.Unlock()
	if user, _, _ := r.BasicAuth(); user != x.user {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	if file, ok := strings.CutPrefix(r.URL.Path, "/files/"); ok {
		http.ServeFile(w, r, filepath.Join(x.dir, filepath.Base(file)))
		return
	}
	name := strings.ReplaceAll(filepath.Base(r.URL.Path), "-", "_")
	files, _ := filepath.Glob(filepath.Join(x.dir, name+"-*"))
	if len(files) == 0 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	for _, f := range files {
		fmt.Fprintf(w, "<a href=\"../../files/%s\">%s</a>\n", filepath.Base(f), filepath.Base(f))
	}
}

func (x *folderIndex) requests() (n int, auth string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.asked), strings.Join(x.auth, "")
}

// fill adds what the runner needs.
func (x *folderIndex) fill(t *testing.T) *folderIndex {
	t.Helper()
	for _, p := range runtimePackages {
		module := strings.ReplaceAll(p.name, "-", "_")
		writeWheel(t, x.dir, module, map[string]string{module + "/__init__.py": "x = 1\n"})
	}
	return x
}

// TestTheFirstIndexWins has a public index with a higher version of a private package: dependency confusion.
func TestTheFirstIndexWins(t *testing.T) {
	private, public := newIndex(t, "operator"), newIndex(t, "").fill(t)
	writeWheelOf(t, private.dir, "apibuilder_private", "1.0", map[string]string{"apibuilder_private.py": "x = 1\n"})
	writeWheelOf(t, public.dir, "apibuilder_private", "99.0", map[string]string{"apibuilder_private.py": "evil = 1\n"})
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.FindLinks, cfg.IndexURL = nil, public.URL+"/simple"
	cfg.ExtraIndexes = []string{strings.Replace(private.URL, "://", "://operator:s3cret-word@", 1) + "/simple"}
	b := started(t, cfg)
	env := ensure(t, b, "apibuilder-private")
	if !strings.Contains(env.Lock, "apibuilder-private==1.0 ") {
		t.Errorf("the lock is\n%s", env.Lock)
	}
	if _, auth := public.requests(); auth != "" {
		t.Errorf("the public index was told %q", auth)
	}
	_, err := b.Ensure(t.Context(), Request{Requirements: "apibuilder-private>=2", Python: systemMinor(t, b)})
	var e *BuildError
	if !errors.As(err, &e) || strings.Contains(e.Output, "127.0.0.1/i/") || strings.Contains(e.Output, "s3cret") {
		t.Errorf("a version that only the other index has: %v\n%+v", err, e)
	}
}

func TestOfflineWithAWarmCache(t *testing.T) {
	index := newIndex(t, "").fill(t)
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.FindLinks, cfg.IndexURL = nil, index.URL+"/simple"
	b := started(t, cfg)
	env := ensure(t, b, "")
	age(t, b, env.Key, 48*time.Hour)
	if gone, err := b.Prune(t.Context(), Policy{Keep: time.Hour}); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	before, _ := index.requests()
	index.Close()
	cfg.Offline = true
	again := ensure(t, started(t, cfg), "")
	if after, _ := index.requests(); again.Key != env.Key || again.Reused || after != before {
		t.Errorf("%+v, %d requests", again, after-before)
	}
}

func TestSourceDistributions(t *testing.T) {
	links := tempDir(t)
	writeSdist(t, links, "apibuilder_source", `if 1:
		import os, socket, setuptools
		told = [str(sorted(os.environ)), open("/proc/self/status").read()]
		for where in (os.environ["APIBUILDER_CACHE"] if "APIBUILDER_CACHE" in os.environ else "/root", "/etc/shadow"):
			try:
				told.append("SEEN " + str(os.listdir(where)))
			except OSError as e:
				told.append(str(e))
		try:
			socket.create_connection(("192.0.2.1", 80), 2)
			told.append("REACHED")
		except OSError as e:
			told.append(str(e))
		open("apibuilder_source.py", "w").write("told = " + repr(told))
		setuptools.setup(name="apibuilder_source", version="1.0", py_modules=["apibuilder_source"])
`)
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.FindLinks, cfg.AllowSdist = append(cfg.FindLinks, links), true
	b := started(t, cfg)
	env := ensure(t, b, "apibuilder-source")
	text, err := os.ReadFile(filepath.Join(env.Path, "lib/python"+env.Interpreter.Minor, "site-packages/apibuilder_source.py"))
	if err != nil || !strings.Contains(string(text), "Network is unreachable") || strings.Contains(string(text), "SEEN") ||
		strings.Contains(string(text), "REACHED") {
		t.Errorf("%s, %v", text, err)
	}
	if entries, err := os.ReadDir(b.path(cacheDir)); err != nil || len(entries) > 0 {
		t.Errorf("in the cache that others use: %v, %v", entries, err)
	}
	noneLeft(t, b)
}
