package pythonenv

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"apibuilder/sandbox/nsjail"
	"apibuilder/toolchain"
)

// The tests use the real uv, nsjail and package index. buildUser is nobody's.
const buildUser = 64990

var (
	tools toolchain.Tools
	root  string // everybody may enter it
	jail  *nsjail.BuildJail
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PYTHONENV_TEST_CHILD"); dir != "" {
		childThatIsKilled(dir)
	}
	if dir := os.Getenv("PYTHONENV_TEST_BUILDS"); dir != "" {
		childThatBuilds(dir)
		return
	}
	flag.Parse()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(m.Run()) // a parser needs none of it, and there are many of these processes
	}
	os.Exit(func() int {
		var err error
		if root, err = os.MkdirTemp("", "pythonenv-test-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(root)
		if err = os.Chmod(root, 0o755); err == nil {
			tools, err = toolchain.Ensure(context.Background(), toolsDir(), nil)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if jail, err = openJail(tools.Nsjail, root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		if b, err := shared(); err == nil {
			_ = b.Stop(context.Background())
		}
		if err := jail.Stop(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := goleak.Find(); code == 0 && err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

// toolsDir is the one that tests of all packages share, see testenv.Dir.
func toolsDir() string {
	if dir := os.Getenv("APIBUILDER_TEST_DIR"); dir != "" {
		return filepath.Join(dir, "tools")
	}
	return "/var/cache/apibuilder-test/tools"
}

// openJail is the real one. Its control groups are this process's own.
func openJail(path, dir string) (*nsjail.BuildJail, error) {
	j := nsjail.NewBuildJail(nsjail.BuildConfig{
		Nsjail: path, Dir: dir, Instance: fmt.Sprintf("pythonenv-test-%d", os.Getpid()), UID: buildUser, GID: buildUser,
	})
	return j, j.Start(context.Background())
}

// shellJail is the jail for a uv that is a piece of shell: it sees the shell, the real uv, and files to write to.
type shellJail struct{ writable []string }

func (j shellJail) Run(ctx context.Context, cmd *exec.Cmd, readOnly, writable []string, serve func(net.Listener)) error {
	readOnly = append([]string{"/usr/bin", tools.UV}, readOnly...)
	if _, err := os.Readlink("/bin"); err == nil {
		cmd.Args = append([]string{"/usr/bin/sh"}, cmd.Args...) // there is no /bin
	}
	if !strings.HasSuffix(cmd.Args[1], "/uv") {
		cmd.Args = cmd.Args[1:]
	}
	return jail.Run(ctx, cmd, readOnly, append(slices.Clone(writable), j.writable...), serve)
}

// countingJail is the jail, and knows how many programs ran in it at a time.
type countingJail struct {
	mu                    sync.Mutex
	now, most, uvNow, uvs int
	installed             int // runs of uv that install
}

func (j *countingJail) Run(ctx context.Context, cmd *exec.Cmd, readOnly, writable []string, serve func(net.Listener)) error {
	isUV := 0
	if cmd.Args[0] == tools.UV {
		isUV = 1
		if len(cmd.Args) > 2 && cmd.Args[2] == "sync" {
			j.mu.Lock()
			j.installed++
			j.mu.Unlock()
		}
	}
	add := func(n int) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.now, j.uvNow = j.now+n, j.uvNow+n*isUV
		j.most, j.uvs = max(j.most, j.now), max(j.uvs, j.uvNow)
	}
	add(1)
	defer add(-1)
	return jail.Run(ctx, cmd, readOnly, writable, serve)
}

// tempDir is like t.TempDir, for directories that the build user must enter.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(root, "t-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func testConfig(dir string) Config {
	index, err := toolchain.ConfiguredIndex()
	if err != nil {
		panic(err)
	}
	return Config{
		Dir: dir, UV: tools.UV, BuildUID: buildUser, BuildGID: buildUser, Timeout: 5 * time.Minute, Jail: jail,
		IndexURL: index.URL, CertFile: index.CertFile, FindLinks: index.FindLinks,
	}
}

// smallConfig builds without an index from packages made by the test: what the runner needs, without any code, and two versions
// of six. For tests that are about something else than packages.
func smallConfig(t *testing.T, dir string) Config {
	t.Helper()
	links, err := smallLinks()
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(dir)
	cfg.IndexURL, cfg.FindLinks = "", []string{links}
	return cfg
}

// withIndex adds the real index, for what builds from source.
func withIndex(cfg *Config) {
	real := testConfig("")
	cfg.IndexURL, cfg.FindLinks = real.IndexURL, append(cfg.FindLinks, real.FindLinks...)
}

var smallLinks = sync.OnceValues(func() (string, error) {
	links := filepath.Join(root, "small")
	err := os.Mkdir(links, 0o755)
	for _, p := range runtimePackages {
		module := strings.ReplaceAll(p.name, "-", "_")
		// Later than all that an index has.
		err = errors.Join(err, makeWheel(links, module, "9999.0", map[string]string{module + "/__init__.py": "x = 1\n"}))
	}
	for _, version := range []string{"1.16.0", "1.17.0"} {
		err = errors.Join(err, makeWheel(links, "six", version, map[string]string{"six.py": "x = 1\n"}))
	}
	return links, err
})

func started(t *testing.T, cfg Config) *Builder {
	t.Helper()
	b := New(cfg)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// shared is a builder whose cache all tests warm that do not need one of their own.
var shared = sync.OnceValues(func() (*Builder, error) {
	b := New(testConfig(filepath.Join(root, "envs")))
	return b, b.Start(context.Background())
})

func sharedBuilder(t *testing.T) *Builder {
	t.Helper()
	b, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ensure(t *testing.T, b *Builder, requirements string) Environment {
	t.Helper()
	var said []string
	env, err := b.Ensure(t.Context(), Request{Requirements: requirements, Python: systemMinor(t, b), Progress: func(l string) { said = append(said, l) }})
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(said, "\n"))
	}
	return env
}

// systemMinor is the version that the tests build for: 3.11 where there is one, because Pillow 9.5 has wheels for it.
func systemMinor(t *testing.T, b *Builder) string {
	t.Helper()
	for _, i := range b.Interpreters(t.Context()) {
		if i.Minor == "3.11" && i.Unusable == "" {
			return "3.11"
		}
	}
	return ""
}

// noneLeft fails when a build left something in its scratch directory.
func noneLeft(t *testing.T, b *Builder) {
	t.Helper()
	entries, err := os.ReadDir(b.path(scratchDir))
	if err != nil || len(entries) != 0 {
		t.Errorf("left in scratch: %v, %v", entries, err)
	}
}

// fakeUV is a uv that runs a piece of shell first; $REAL is the real one.
func fakeUV(t *testing.T, cfg *Config, shell string, writable ...string) {
	t.Helper()
	path := filepath.Join(tempDir(t), "uv")
	if err := os.WriteFile(path, []byte("#!/usr/bin/sh\nREAL="+tools.UV+"\n"+shell+"\nexec $REAL \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.UV, cfg.Jail = path, shellJail{writable}
}
