package pythonenv

import (
	"errors"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func TestParseAllow(t *testing.T) {
	a, err := ParseAllow("url:Files.example.com, git:git.example.com:8443,path:/srv/wheels/,sdist,url")
	if err != nil || !slices.Equal(a.URLs, []string{"files.example.com", "*"}) || !slices.Equal(a.Git, []string{"git.example.com:8443"}) ||
		!slices.Equal(a.Folders, []string{"/srv/wheels"}) || !a.Sdists {
		t.Errorf("%+v, %v", a, err)
	}
	for _, bad := range []string{"", "urls", "url:", "url:https://x", "path", "path:x", "sdist:x", "git:a/b", "url,,git", "editable"} {
		if a, err := ParseAllow(bad); err == nil {
			t.Errorf("%q is %+v", bad, a)
		}
	}
}

func TestDirectReferences(t *testing.T) {
	folder := tempDir(t)
	writeWheel(t, folder, "local_one", nil)
	outside := tempDir(t)
	writeWheel(t, outside, "local_two", nil)
	if err := os.Symlink(filepath.Join(outside, "local_two-1.0-py3-none-any.whl"), filepath.Join(folder, "local_two-1.0-py3-none-any.whl")); err != nil {
		t.Fatal(err)
	}
	a := Allow{URLs: []string{"files.example.com", "*"}, Git: []string{"git.example.com"}, Folders: []string{folder}}
	wheel := "https://files.example.com/a/x-1.0-py3-none-any.whl"
	local := folder + "/local_one-1.0-py3-none-any.whl"
	commit := strings.Repeat("0a", 20)
	for text, want := range map[string]string{ // what it comes to; !: what the refusal says
		"x @ " + wheel: "x @ " + wheel,
		"X[b,A]@" + wheel + " ; python_version > '3' --hash=" + sum: "x[a,b] @ " + wheel + " ; python_version > '3'",
		wheel: "x @ " + wheel,
		wheel + "#" + strings.Replace(sum, ":", "=", 1):        "x @ " + wheel,
		"x @ http://files.example.com/x-1.0-py3-none-any.whl":  "x @ http://files.example.com/x-1.0-py3-none-any.whl",
		"x @ http://other.example.com/x-1.0-py3-none-any.whl":  "!not among the hosts",
		"x @ https://other.example.com/x-1.0-py3-none-any.whl": "x @ https://other.example.com/x-1.0-py3-none-any.whl",
		"y @ " + wheel: "!one of x",
		"x @ https://u:s3cret@files.example.com/x-1.0-py3-none-any.whl":       "!password",
		"x @ https://files.example.com/../x-1.0-py3-none-any.whl":             "!dots",
		"x @ https://files.example.com/x-1.0-py3-none-any.whl?a=b":            "!query",
		"x @ https://files.example.com/x-1.0.tar.gz":                          "!wheel",
		"x @ https://files.example.com/x-1.0-py3-none-any.whl#egg=x":          "!sha256=",
		"x @ ftp://files.example.com/x-1.0-py3-none-any.whl":                  "!neither",
		"g @ git+https://git.example.com/a/b.git@v1.0":                        "g @ git+https://git.example.com/a/b.git@v1.0",
		"g @ git+https://git.example.com/a/b@" + commit + "#subdirectory=c/d": "g @ git+https://git.example.com/a/b@" + commit + "#subdirectory=c/d",
		"g @ git+https://git.example.com/a/b#subdirectory=../d":               "!subdirectory",
		"g @ git+https://git.example.com/a/b@--upload-pack=x":                 "!no branch",
		"g @ git+https://git.example.com/a/b@main --hash=" + sum:              "!no hash",
		"git+https://git.example.com/a/b":                                     "!names no package",
		"g @ git+https://other.example.com/a/b":                               "!not among the hosts",
		"g @ git+ssh://git@git.example.com/a/b":                               "!a repository cannot be installed from",
		"g @ git+file:///a/b":                                                 "!neither",
		"hg+https://git.example.com/a/b":                                      "!neither",
		"local_one @ file://" + local:                                         "local-one @ file://" + local,
		local:                                                                 "local-one @ file://" + local,
		"./local_one-1.0-py3-none-any.whl":                                    "local-one @ file://" + local,
		"./../x/local_one-1.0-py3-none-any.whl":                               "!below a folder",
		"local_two @ file://" + folder + "/local_two-1.0-py3-none-any.whl":    "!below a folder",
		"local_two @ file://" + outside + "/local_two-1.0-py3-none-any.whl":   "!below a folder",
		"x @ file:///etc/passwd":                                              "!below a folder",
		"x @ -e":                                                              "!--?e",
		"-e git+https://git.example.com/a/b":                                  "!-e",
		"six==1.0":                                                            "six==1.0",
		"dir/x":                                                               "!file",
	} {
		reqs, err := a.parse(text)
		var e *BuildError
		switch {
		case errors.As(err, &e):
			if want[0] != '!' || !regexp.MustCompile(want[1:]).MatchString(e.Error()) || e.Remedy == "" || strings.Contains(e.Error(), "s3cret") {
				t.Errorf("%q: %v; want %s", text, e, want)
			}
		case err != nil || len(reqs) != 1 || reqs[0].text != want:
			t.Errorf("%q: %+v, %v; want %s", text, reqs, err, want)
		}
	}
	for _, kind := range []Allow{{URLs: a.URLs}, {Git: a.Git}, {Folders: a.Folders}} {
		allowed := 0
		for _, text := range []string{wheel, "g @ git+https://git.example.com/a/b", local} {
			if _, err := kind.parse(text); err == nil {
				allowed++
			}
		}
		if allowed != 1 {
			t.Errorf("%+v allows %d kinds", kind, allowed)
		}
	}
}

// hostOf is a test server's host and port.
func hostOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// allowing is a builder with packages of a folder and what is allowed besides.
func allowing(t *testing.T, a Allow, change func(*Config)) *Builder {
	t.Helper()
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	cfg.Allow = a
	if change != nil {
		change(&cfg)
	}
	return started(t, cfg)
}

func TestAWheelByItsAddress(t *testing.T) {
	files := tempDir(t)
	writeWheel(t, files, "by_address", map[string]string{"by_address.py": "x = 1\n"})
	var elsewhere *httptest.Server
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/away/") {
			http.Redirect(w, r, elsewhere.URL+"/"+filepath.Base(r.URL.Path), http.StatusFound)
			return
		}
		http.ServeFile(w, r, filepath.Join(files, filepath.Base(r.URL.Path)))
	}))
	defer host.Close()
	var reached atomic.Bool
	elsewhere = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer elsewhere.Close()
	b := allowing(t, Allow{URLs: []string{hostOf(t, host)}}, nil)
	const file = "/by_address-1.0-py3-none-any.whl"
	env := ensure(t, b, "by-address @ "+host.URL+file)
	line := regexp.MustCompile(`(?m)^by-address @ ` + regexp.QuoteMeta(host.URL+file) + ` --hash=sha256:[0-9a-f]{64}$`)
	if !line.MatchString(env.Lock) {
		t.Fatalf("the lock is\n%s", env.Lock)
	}
	packages := filepath.Join(env.Path, "lib/python"+env.Interpreter.Minor, "site-packages")
	if _, err := os.Stat(packages + "/by_address.py"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(packages + "/by_address-1.0.dist-info/direct_url.json"); err == nil {
		t.Error("the address in the jail is noted in the environment")
	}
	// Another node installs from the lock, and refuses another file.
	cfg := b.cfg
	cfg.Dir = filepath.Join(tempDir(t), "envs")
	other := started(t, cfg)
	if again, err := other.Ensure(t.Context(), Request{Lock: env.Lock}); err != nil || again.Key != env.Key {
		t.Errorf("%+v, %v", again, err)
	}
	writeWheel(t, files, "by_address", map[string]string{"by_address.py": "x = 'another'\n"})
	cfg.Dir = filepath.Join(tempDir(t), "envs")
	var e *BuildError
	if _, err := started(t, cfg).Ensure(t.Context(), Request{Lock: env.Lock}); !errors.As(err, &e) || e.Reason != ReasonHashMismatch {
		t.Errorf("another file: %v", err)
	}
	// Nor does it stay allowed when the operator takes it back.
	cfg.Dir, cfg.Allow = filepath.Join(tempDir(t), "envs"), Allow{}
	if _, err := started(t, cfg).Ensure(t.Context(), Request{Lock: env.Lock}); !errors.As(err, &e) || e.Reason != ReasonRefused {
		t.Errorf("not allowed any more: %v", err)
	}
	_, err := b.Ensure(t.Context(), Request{Requirements: "by-address @ " + host.URL + "/away" + file})
	if !errors.As(err, &e) || reached.Load() {
		t.Errorf("a redirection elsewhere: %v, reached %t", err, reached.Load())
	}
	_, err = b.Ensure(t.Context(), Request{Requirements: host.URL + "/absent-1.0-py3-none-any.whl"})
	if !errors.As(err, &e) || e.Reason != ReasonUnreachable || !strings.HasPrefix(e.Message, "absent") {
		t.Errorf("a file that is not there: %v", err)
	}
	noneLeft(t, b)
}

// TestTheCredentialsOfAnIndexStayThere names an address at the host of an index with a password.
func TestTheCredentialsOfAnIndexStayThere(t *testing.T) {
	var told atomic.Value
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/private/") {
			told.Store("it was told " + r.Header.Get("Authorization"))
		}
		http.NotFound(w, r)
	}))
	defer host.Close()
	b := allowing(t, Allow{URLs: []string{hostOf(t, host)}}, func(cfg *Config) {
		cfg.IndexURL = strings.Replace(host.URL, "://", "://operator:s3cret-word@", 1) + "/simple"
	})
	_, err := b.Ensure(t.Context(), Request{Requirements: host.URL + "/private/x-1.0-py3-none-any.whl"})
	if err == nil || told.Load() != "it was told " {
		t.Errorf("%v, %v", err, told.Load())
	}
}

func TestAWheelByItsPath(t *testing.T) {
	folder := tempDir(t)
	writeWheel(t, folder, "by_path", map[string]string{"by_path.py": "x = 1\n"})
	b := allowing(t, Allow{Folders: []string{folder}}, nil)
	env := ensure(t, b, "./by_path-1.0-py3-none-any.whl")
	if !strings.Contains(env.Lock, "by-path @ file://"+folder+"/by_path-1.0-py3-none-any.whl --hash=sha256:") {
		t.Fatalf("the lock is\n%s", env.Lock)
	}
	if _, packages := LockedPackages(env.Lock); !slices.Contains(packages, Package{"by-path", "file://" + folder + "/by_path-1.0-py3-none-any.whl"}) {
		t.Errorf("%v", packages)
	}
	if err := os.Chmod(filepath.Join(folder, "by_path-1.0-py3-none-any.whl"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Ensure(t.Context(), Request{Requirements: "./by_path-1.0-py3-none-any.whl", Upgrade: true}); err == nil || !strings.Contains(err.Error(), "chmod o+r") {
		t.Errorf("a file that the build cannot read: %v", err)
	}
	noneLeft(t, b)
}

// bareRepository makes a git repository with a branch main and a tag v1, and returns its directory and commit.
func bareRepository(t *testing.T, files map[string]string) (dir, commit string) {
	t.Helper()
	dir = filepath.Join(tempDir(t), "part", "repo.git")
	work := filepath.Join(tempDir(t), "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main")
	git("add", "-A")
	git("commit", "-q", "-m", "first")
	git("tag", "v1")
	git("clone", "-q", "--bare", ".", dir)
	return dir, git("rev-parse", "HEAD")
}

// repository serves a git repository over HTTP, and returns its address and commit.
func repository(t *testing.T, files map[string]string) (server *httptest.Server, commit string) {
	t.Helper()
	dir, commit := bareRepository(t, files)
	server = httptest.NewServer(&cgi.Handler{
		Path:   "/usr/lib/git-core/git-http-backend",
		Stderr: io.Discard,
		Env: []string{
			"GIT_PROJECT_ROOT=" + filepath.Dir(filepath.Dir(dir)), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
	})
	t.Cleanup(server.Close)
	return server, commit
}

func TestAPackageFromARepository(t *testing.T) {
	files := map[string]string{}
	for name, text := range sourceTree("from_git", "3.0", `if 1:
		import socket
		told = [open("/proc/self/status").read()]
		for where in ("/root", "/home", os.environ["UV_CACHE_DIR"] + "/../../../.cache", "/etc/shadow"):
			try:
				told.append("SEEN " + where + str(os.listdir(where)))
			except OSError as e:
				told.append(str(e))
		try:
			socket.create_connection(("192.0.2.1", 80), 2)
			told.append("REACHED")
		except OSError as e:
			told.append(str(e))
		text = "told = " + repr(told)`) {
		files["sub/"+name] = text
	}
	server, commit := repository(t, files)
	b := allowing(t, Allow{Git: []string{hostOf(t, server)}}, nil)
	env := ensure(t, b, "from-git @ git+"+server.URL+"/part/repo.git@main#subdirectory=sub")
	want := "from-git @ git+" + server.URL + "/part/repo.git@" + commit + "#subdirectory=sub\n"
	if !strings.Contains(env.Lock, want) {
		t.Fatalf("the lock is\n%s", env.Lock)
	}
	text, err := os.ReadFile(filepath.Join(env.Path, "lib/python"+env.Interpreter.Minor, "site-packages/from_git.py"))
	if err != nil || !strings.Contains(string(text), "unreachable") || strings.Contains(string(text), "SEEN") || strings.Contains(string(text), "REACHED") {
		t.Errorf("%s, %v", text, err)
	}
	if entries, err := os.ReadDir(b.path(cacheDir)); err != nil || len(entries) > 0 {
		t.Errorf("in the cache that others use: %v, %v", entries, err)
	}
	age(t, b, env.Key, 48*60*60*1e9)
	if gone, err := b.Prune(t.Context(), Policy{Keep: 1}); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	if again, err := b.Ensure(t.Context(), Request{Lock: env.Lock}); err != nil || again.Key != env.Key || again.Reused {
		t.Errorf("%+v, %v", again, err)
	}
	_, err = b.Ensure(t.Context(), Request{Requirements: "from-git @ git+" + server.URL + "/part/absent.git"})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonUnreachable || !strings.Contains(e.Message, "repository") {
		t.Errorf("a repository that is not there: %v", err)
	}
	noneLeft(t, b)
}

// TestTheMirrorOnlyReads asks for what no requirement names.
func TestTheMirrorOnlyReads(t *testing.T) {
	u, err := newUpstream(Config{Allow: Allow{URLs: []string{"*"}, Git: []string{"*"}}}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	parse := func(text string) *url.URL {
		parsed, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	repo := u.localURL("g", parse("https://git.example.com/a/b"))
	file := u.localURL("d", parse("https://files.example.com/x.whl"))
	for _, c := range []struct {
		method, url string
		ok          bool
	}{
		{"GET", repo + "/info/refs?service=git-upload-pack", true},
		{"POST", repo + "/git-upload-pack", true},
		{"GET", repo + "/info/refs?service=git-receive-pack", false},
		{"GET", repo + "/info/refs", false},
		{"POST", repo + "/git-receive-pack", false},
		{"GET", repo + "/HEAD", false},
		{"GET", repo + "/../c/info/refs?service=git-upload-pack", false},
		{"GET", repo, false},
		{"POST", file, false},
		{"GET", file, true},
		{"GET", file + "?a=b", false},
		{"GET", file + ".metadata", false},
		{"GET", strings.Replace(file, "/d/", "/g/", 1) + "/info/refs?service=git-upload-pack", false},
		{"GET", strings.Replace(file, "files", "other", 1), false},
	} {
		r := httptest.NewRequest(c.method, c.url, http.NoBody)
		prefix, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
		if target, err := u.directTarget(prefix, rest, r); (err == nil) != c.ok {
			t.Errorf("%s %s: %v, %v", c.method, c.url, target, err)
		}
		if _, _, err := u.target(parse(strings.Replace(c.url, "/d/", "/f/", 1))); err == nil {
			t.Errorf("%s is a file of an index", c.url)
		}
	}
}
