package pythonenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSourcesByChoice builds one package from source that a request names, and no other.
func TestSourcesByChoice(t *testing.T) {
	links := tempDir(t)
	for _, name := range []string{"chosen_source", "other_source"} {
		writeSource(t, links, name, sourceTree(name, "1.0", ""))
	}
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	cfg.FindLinks, cfg.Allow = append(cfg.FindLinks, links), Allow{Sdists: true}
	b := started(t, cfg)
	request := Request{Requirements: "chosen-source", Python: systemMinor(t, b), Sdists: []string{"Chosen_Source"}}
	env, err := b.Ensure(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if got := LockedSources(env.Lock); !slices.Equal(got, []string{"chosen-source"}) {
		t.Errorf("the lock is\n%s", env.Lock)
	}
	if again, err := b.Ensure(t.Context(), Request{Lock: env.Lock}); err != nil || again.Key != env.Key || !again.Reused {
		t.Errorf("by its lock: %+v, %v", again, err)
	}
	var e *BuildError
	request.Requirements = "chosen-source\nother-source"
	if _, err := b.Ensure(t.Context(), request); !errors.As(err, &e) || e.Reason != ReasonNoWheel || !strings.Contains(e.Message, "other-source") {
		t.Errorf("one that was not chosen: %v", err)
	}
	cfg.Allow = Allow{}
	for _, r := range []Request{request, {Lock: strings.Replace(env.Lock, "chosen-source==1.0", "chosen-source==1.0.0", 1)}} {
		if _, err := started(t, cfg).Ensure(t.Context(), r); !errors.As(err, &e) || e.Reason != ReasonRefused {
			t.Errorf("not allowed: %v", err)
		}
	}
	if entries, err := filepath.Glob(b.path(cacheDir, "*")); err != nil || len(entries) > 1 {
		t.Errorf("in the cache that others use: %v, %v", entries, err)
	}
	noneLeft(t, b)
}

// TestASourceSeesNoEnvironmentBeforeItIsMade has links of a build's where root is about to write: its code runs while the requirements
// are resolved already.
func TestASourceSeesNoEnvironmentBeforeItIsMade(t *testing.T) {
	links, victim := tempDir(t), filepath.Join(t.TempDir(), "of-root")
	if err := os.WriteFile(victim, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := sourceTree("hostile_source", "1.0", "")
	tree["backend.py"] += fmt.Sprintf(`
def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
	env = os.path.join(os.path.dirname(os.environ["TMPDIR"]), "env")
	try:
		os.makedirs(env, exist_ok=True)
		os.symlink(%q, env + "/pyvenv.cfg")
	except OSError:
		pass
	info = f"{name}-{version}.dist-info"
	os.mkdir(os.path.join(metadata_directory, info))
	with open(os.path.join(metadata_directory, info, "METADATA"), "w") as f:
		f.write(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
	return info
`, victim)
	writeSource(t, links, "hostile_source", tree)
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	cfg.FindLinks, cfg.Allow = append(cfg.FindLinks, links), Allow{Sdists: true}
	b := started(t, cfg)
	request := Request{Requirements: "hostile-source", Python: systemMinor(t, b), Sdists: []string{"hostile-source"}}
	if _, err := b.Ensure(t.Context(), request); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "secret" {
		t.Errorf("a file outside of the build is now %q, %v", text, err)
	}
	noneLeft(t, b)
}

func TestNamesOfSources(t *testing.T) {
	for _, c := range []struct{ names, want string }{
		{"", ""}, {"B_x a a", "a b-x"}, {"a all", "all"}, {"-e", "!"}, {"a/b", "!"},
	} {
		s, err := newSources(strings.Fields(c.names))
		if got := strings.Join(s.named, " "); (err != nil) != (c.want == "!") || err == nil && got != c.want {
			t.Errorf("%q: %q, %v", c.names, got, err)
		}
	}
	if !SameSources([]string{"A_b"}, []string{"a-b"}) || SameSources(nil, []string{"a"}) {
		t.Error("lists are not compared by what they mean")
	}
	text := "# python 3.11.2 linux\n# from source: a b\na==1 --hash=" + sum + "\n"
	if l, err := readLock(text); err != nil || l.text != text || !slices.Equal(l.sources.named, []string{"a", "b"}) {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := readLock(strings.Replace(text, "a b", "b  a", 1)); err == nil {
		t.Errorf("%+v", l)
	}
}
