package pythonenv

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// release of a package in an index that a test serves.
type packaged struct {
	name, version  string
	tag            string // "py3-none-any" if empty; "sdist" for a source distribution
	requires       []string
	requiresPython string
	announced      string // hash that the index tells, when it is not the file's
}

// file is its name and content.
func (p packaged) file() (string, []byte) {
	tag := p.tag
	if tag == "" {
		tag = "py3-none-any"
	}
	if tag == "sdist" {
		return p.name + "-" + p.version + ".tar.gz", []byte("not an archive")
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	info := p.name + "-" + p.version + ".dist-info/"
	metadata := "Metadata-Version: 2.1\nName: " + p.name + "\nVersion: " + p.version + "\n"
	for _, r := range p.requires {
		metadata += "Requires-Dist: " + r + "\n"
	}
	if p.requiresPython != "" {
		metadata += "Requires-Python: " + p.requiresPython + "\n"
	}
	for _, member := range [][2]string{
		{p.name + ".py", "x = 1\n"},
		{info + "METADATA", metadata},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: " + tag + "\n"},
		{info + "RECORD", p.name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		w, _ := z.Create(member[0])
		_, _ = w.Write([]byte(member[1]))
	}
	_ = z.Close()
	return p.name + "-" + p.version + "-" + tag + ".whl", b.Bytes()
}

// serveIndex serves a simple repository (PEP 503) of these packages and of what every program needs.
func serveIndex(t *testing.T, packages ...packaged) *httptest.Server {
	t.Helper()
	for _, r := range runtimePackages {
		packages = append(packages, packaged{name: strings.ReplaceAll(r.name, "-", "_"), version: "1.0"})
	}
	pages, files := map[string]string{}, map[string][]byte{}
	for _, p := range packages {
		name, content := p.file()
		hash := p.announced
		if hash == "" {
			hash = fmt.Sprintf("%x", sha256.Sum256(content))
		}
		files["/files/"+name] = content
		pages["/simple/"+normalise(p.name)+"/"] += fmt.Sprintf("<a href=\"/files/%s#sha256=%s\" data-requires-python=\"%s\">%s</a>\n",
			name, hash, html.EscapeString(p.requiresPython), name)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page, ok := pages[r.URL.Path]; ok {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(page))
			return
		}
		if content, ok := files[r.URL.Path]; ok {
			http.ServeContent(w, r, r.URL.Path, packagedAt, bytes.NewReader(content))
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// builderFor builds from that index alone.
func builderFor(t *testing.T, index string, change func(*Config)) *Builder {
	t.Helper()
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.IndexURL, cfg.FindLinks = index, nil
	if change != nil {
		change(&cfg)
	}
	return started(t, cfg)
}

var packagedAt = time.Unix(1_700_000_000, 0)

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
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	withIndex(&cfg)
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
