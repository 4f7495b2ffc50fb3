package pythonenv

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"apibuilder/sandbox/nsjail"
)

// jailed runs Python code where uv runs, and returns what it printed.
func jailed(t *testing.T, b *Builder, j Jail, online bool, code string) (string, error) {
	t.Helper()
	s, err := b.makeScratch(sources{})
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(s.top)
	var refused []string
	s.mirror = &mirror{up: b.up, max: 1 << 20, exceed: func() {}, say: func(l string) { refused = append(refused, l) }}
	interp, err := b.choose(t.Context(), systemMinor(t, b))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	at := b.at(s, interp, online)
	cfg := b.cfg
	cfg.Jail = j
	err = at.run(cfg)(t.Context(), &exec.Cmd{
		Args: []string{interp.Path, "-I", "-S", "-c", code}, Dir: s.work, Env: b.uvEnviron(s), Stdout: &out, Stderr: &out,
	})
	return out.String() + strings.Join(refused, "\n"), err
}

func TestABuildSeesNothingElse(t *testing.T) {
	t.Setenv("APIBUILDER_TEST_SECRET", "of-the-server")
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.ExtraIndexes = []string{"http://operator:s3cret-word@127.0.0.1:9/simple"}
	b := started(t, cfg)
	other := ensure(t, sharedBuilder(t), "pillow==9.5.0")
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	code := fmt.Sprintf(`if 1:
		import os, socket, urllib.request
		print("environ", sorted(os.environ.items()))
		for path in (%q, "/root", "/home", "/etc/shadow", %q, "/proc/1/root/root"):
			try:
				print("SEEN", path, os.listdir(path) if os.path.isdir(path) else open(path).read(9))
			except OSError as e:
				pass
		try:
			socket.create_connection(("127.0.0.1", %d), 2)
			print("REACHED the host")
		except OSError as e:
			print("host:", e)
		try:
			socket.create_connection(("192.0.2.1", 80), 2)
			print("REACHED the network")
		except OSError as e:
			print("network:", e)
		try:
			print("REACHED", urllib.request.urlopen("http://127.0.0.1/f/00/http/169.254.169.254/latest/").status)
		except OSError as e:
			print("mirror:", e)
		try:
			os.setuid(0)
			print("BECAME root")
		except OSError as e:
			pass
		print("pids", [p for p in os.listdir("/proc") if p.isdigit()], "uid", os.getuid())`,
		other.Path, b.path(locksDir, "secret"), host.Addr().(*net.TCPAddr).Port)
	out, err := jailed(t, b, jail, true, code)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, bad := range []string{"SEEN", "REACHED", "BECAME", "s3cret", "of-the-server"} {
		if strings.Contains(out, bad) {
			t.Errorf("%s in\n%s", bad, out)
		}
	}
	for _, good := range []string{
		"host: [Errno 111]", "network: [Errno 101]", "mirror: HTTP Error 403", "refused: GET \"/f/00/http/169.254.169.254/latest/\"", "pids ['1']",
	} {
		if !strings.Contains(out, good) {
			t.Errorf("no %q in\n%s", good, out)
		}
	}
}

func TestABuildIsBounded(t *testing.T) {
	b := sharedBuilder(t)
	limited := nsjail.NewBuildJail(nsjail.BuildConfig{
		Nsjail: tools.Nsjail, Dir: root, Instance: fmt.Sprintf("pythonenv-limits-%d", os.Getpid()), UID: buildUser, GID: buildUser,
		MemoryBytes: 96 << 20, Pids: 16, WrittenBytes: 64 << 20, FileBytes: 32 << 20,
	})
	if err := limited.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer limited.Stop(t.Context())
	for name, c := range map[string]struct{ code, reason string }{
		"memory":    {"x = b'x' * (400 << 20)", ReasonOutOfMemory},
		"processes": {"import os, time\nfor i in range(100):\n  if os.fork() == 0:\n    time.sleep(30)", ReasonOutOfMemory},
		"bytes written and deleted": {
			"import os\nwhile True:\n  with open('f', 'wb') as f: f.write(b'x' * (16 << 20)); f.flush()\n  os.unlink('f')", ReasonTooLarge,
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := jailed(t, b, limited, false, c.code)
			var e *BuildError
			if !errors.As(explainLimit(err), &e) || e.Reason != c.reason {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if out, err := jailed(t, b, limited, false, "open('f', 'wb').write(b'x' * (33 << 20))"); err == nil || !strings.Contains(out, "File too large") && !strings.Contains(err.Error(), "153") {
		t.Errorf("one large file: %v\n%s", err, out)
	}
}

func TestABuildThatDownloadsTooMuch(t *testing.T) {
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.MaxDownload, cfg.FindLinks = 200<<10, nil
	_, err := started(t, cfg).Ensure(t.Context(), Request{Requirements: "pillow==9.5.0"})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonTooLarge || !strings.Contains(e.Message, "downloaded") {
		t.Error(err)
	}
}

func TestAZipBomb(t *testing.T) {
	dir, envs := tempDir(t), tempDir(t)
	writeWheel(t, dir, "apibuilder_bomb", map[string]string{"bomb.bin": strings.Repeat("\x00", 96<<20)})
	cfg := smallConfig(t, filepath.Join(envs, "envs"))
	cfg.FindLinks, cfg.MaxBytes = append(cfg.FindLinks, dir), 40<<20
	b := started(t, cfg)
	_, err := b.Ensure(t.Context(), Request{Requirements: "apibuilder-bomb"})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonTooLarge {
		t.Error(err)
	}
	noneLeft(t, b)
}

// TestFilesElsewhereInTheNetwork has an index whose pages link to addresses of the operator's own network.
func TestFilesElsewhereInTheNetwork(t *testing.T) {
	asked := make(chan string, 10)
	inner := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer inner.Close()
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a href="%s/secret/apibuilder_inner-1.0-py3-none-any.whl">x</a>`, inner.URL)
	}))
	defer index.Close()
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.FindLinks, cfg.IndexURL = nil, index.URL
	var said []string
	b := started(t, cfg)
	ctx := t.Context()
	_, err := b.Ensure(ctx, Request{Requirements: "apibuilder-inner", Progress: func(l string) { said = append(said, l) }})
	if err == nil || !strings.Contains(strings.Join(said, "\n"), "is never allowed") {
		t.Errorf("%v\n%s", err, strings.Join(said, "\n"))
	}
	if len(asked) > 0 {
		t.Errorf("the inner server was asked for %s", <-asked)
	}
}

// BenchmarkJail is what a program in the jail costs more than the program, with and without the index.
func BenchmarkJail(b *testing.B) {
	builder, err := shared()
	if err != nil {
		b.Fatal(err)
	}
	s, err := builder.makeScratch(sources{})
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(s.top)
	s.mirror = &mirror{up: builder.up, max: 1 << 20, exceed: func() {}, say: func(string) {}}
	for name, online := range map[string]bool{"alone": false, "index": true} {
		b.Run(name, func(b *testing.B) {
			at := builder.at(s, Interpreter{}, online)
			at.readOnly = append(at.readOnly[1:], "/usr/bin/true")
			for b.Loop() {
				begin := time.Now()
				if err := at.run(builder.cfg)(b.Context(), &exec.Cmd{Args: []string{"/usr/bin/true"}, Dir: s.work}); err != nil {
					b.Fatal(err, time.Since(begin))
				}
			}
		})
	}
}
