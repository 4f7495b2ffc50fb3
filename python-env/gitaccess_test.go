package pythonenv

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestParseGitCredentials(t *testing.T) {
	all, err := ParseGitCredentials("https://a:s3cret-one@Git.example.com\n\thttps://b:s3cret-two@git.example.com:8443/team/ https://c:s3cret-three@git.example.com/team/part\n")
	if err != nil || len(all) != 3 || all[0].User.Username() != "c" || all[2].Host != "git.example.com" || all[1].Path != "/team" {
		t.Errorf("%v, %v", all, err)
	}
	for _, bad := range []string{
		"https://git.example.com", "https://s3cret@git.example.com", "https://:s3cret@git.example.com", "ssh://a:s3cret@git.example.com",
		"https://a:s3cret@", "https://a:s3cret@git.example.com/x?y", "https://a:s3cret@git.example.com/../x", "s3cret", "https://a:s3cret%zz@git.example.com",
	} {
		_, err := ParseGitCredentials("https://a:b@git.example.com " + bad)
		if err == nil || !strings.Contains(err.Error(), "number 2") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzParseGitCredentials looks that no error shows what it was about, and that what is read is what authorizeGit expects.
func FuzzParseGitCredentials(f *testing.F) {
	f.Add("https://user:s3cret-word@git.example.com/team")
	f.Add("http://a:b@[::1]:80/%2e%2e/x y")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseGitCredentials(text)
		if err != nil {
			for _, word := range strings.Fields(text) {
				if len(word) > 12 && strings.Contains(err.Error(), word) && !strings.Contains("https://USER:TOKEN@HOST/PATH", word) {
					t.Errorf("%q is in %v", word, err)
				}
			}
			return
		}
		for _, u := range all {
			if _, has := u.User.Password(); !has || u.Host == "" || strings.HasSuffix(u.Path, "/") || hasDots(u.Path) {
				t.Errorf("%q is read as %q", text, u)
			}
		}
	})
}

// TestCredentialsGoToTheirRepositoriesAlone looks at what a request for a repository carries, first and after a redirection.
func TestCredentialsGoToTheirRepositoriesAlone(t *testing.T) {
	git, err := ParseGitCredentials("https://a:whole@git.example.com https://b:team@git.example.com/team https://c:port@git.example.com:8443/x")
	if err != nil {
		t.Fatal(err)
	}
	u, err := newUpstream(Config{GitCredentials: git, Allow: Allow{Git: []string{"git.example.com"}}}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"https://git.example.com/other/x.git/info/refs":      "whole",
		"https://git.example.com:443/other/x.git/info/refs":  "whole",
		"https://GIT.example.com/team/x.git/info/refs":       "team",
		"https://git.example.com/team.git/info/refs":         "team",
		"https://git.example.com/teamwork/x.git/info/refs":   "whole",
		"https://git.example.com/team/../other/x/info/refs":  "",
		"https://git.example.com:8443/x/info/refs":           "port",
		"https://git.example.com:8443/y/info/refs":           "",
		"http://git.example.com/team/x.git/info/refs":        "",
		"https://sub.git.example.com/team/x.git/info/refs":   "",
		"https://git.example.com.evil.test/team/x/info/refs": "",
	} {
		r := httptest.NewRequest(http.MethodGet, address, http.NoBody)
		r.Header.Set("Authorization", "Basic of somebody else")
		u.authorizeGit(r)
		_, password, _ := r.BasicAuth()
		if password != want || want == "" && r.Header.Get("Authorization") != "" {
			t.Errorf("%s gets %q, want %q", address, r.Header.Get("Authorization"), want)
		}
	}
}

// TestAPackageFromAPrivateRepository builds from a server that asks for a password. The build's own code looks for it, without having
// it as text in the cache itself, and it is in no line, lock or file; the server redirects away from itself, and it does not go along.
func TestAPackageFromAPrivateRepository(t *testing.T) {
	const password = "pass-word-of-the-operator"
	files := map[string]string{}
	for name, text := range sourceTree("from_private", "1.0", `if 1:
		found = []
		for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
			for what in ("environ", "cmdline"):
				try:
					found.append(open("/proc/%s/%s" % (pid, what), "rb").read())
				except OSError:
					pass
		for top, _, entries in os.walk(os.environ["UV_CACHE_DIR"]):
			for entry in entries:
				try:
					found.append(open(os.path.join(top, entry), "rb").read())
				except OSError:
					pass
		text = "seen = " + repr(any(b"pass" + chr(45).encode() + b"word" in f for f in found)) + "; looked = " + str(len(found))`) {
		files[name] = text
	}
	inner, commit := repository(t, files)
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(leaked.Load() || r.Header.Get("Authorization") != "")
		http.NotFound(w, r)
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/away/") {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
			return
		}
		if user, given, _ := r.BasicAuth(); user != "deploy" || given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		inner.Config.Handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	line := "from-private @ git+" + server.URL + "/part/repo.git@v1"
	allow := Allow{Git: []string{hostOf(t, server), hostOf(t, elsewhere)}}

	var e *BuildError
	_, err := allowing(t, allow, nil).Ensure(t.Context(), Request{Requirements: line})
	if !errors.As(err, &e) || e.Reason != ReasonUnreachable {
		t.Errorf("without credentials: %v", err)
	}
	git, err := ParseGitCredentials(strings.Replace(server.URL, "://", "://deploy:"+password+"@", 1))
	if err != nil {
		t.Fatal(err)
	}
	b := allowing(t, allow, func(cfg *Config) { cfg.GitCredentials = git })
	var said strings.Builder
	env, err := b.Ensure(t.Context(), Request{Requirements: line, Progress: func(l string) { said.WriteString(l + "\n") }})
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if !strings.Contains(env.Lock, "from-private @ git+"+server.URL+"/part/repo.git@"+commit+"\n") {
		t.Errorf("the lock is\n%s", env.Lock)
	}
	text, err := os.ReadFile(filepath.Join(env.Path, "lib/python"+env.Interpreter.Minor, "site-packages/from_private.py"))
	if err != nil || !strings.HasPrefix(string(text), "seen = False; looked = ") || strings.HasSuffix(string(text), "= 0") {
		t.Errorf("the build's own code: %s, %v", text, err)
	}
	if strings.Contains(said.String()+env.Lock, password) {
		t.Errorf("the password is in the lock or in what is said:\n%s", said.String())
	}
	holdsNot(t, b.cfg.Dir, password)
	_, err = b.Ensure(t.Context(), Request{Requirements: "x @ git+" + server.URL + "/away/x.git"})
	if err == nil || leaked.Load() {
		t.Errorf("a redirection elsewhere: %v, with the credentials: %t", err, leaked.Load())
	}
	noneLeft(t, b)
}

// holdsNot looks through the files below a directory.
func holdsNot(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
