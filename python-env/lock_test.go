package pythonenv

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// loggingUV gives cfg a uv that notes its subcommands in a file, and then runs a piece of shell.
func loggingUV(t *testing.T, cfg *Config, shell string) (calls func(command string) int) {
	t.Helper()
	log := filepath.Join(tempDir(t), "log")
	if err := errors.Join(os.WriteFile(log, nil, 0o666), os.Chmod(log, 0o666)); err != nil {
		t.Fatal(err)
	}
	fakeUV(t, cfg, `echo "$1 $2" >> `+log+"\n"+shell, log)
	return func(command string) int {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), command)
	}
}

func TestALockIsInstalledWithoutResolving(t *testing.T) {
	locked := ensure(t, started(t, smallConfig(t, filepath.Join(tempDir(t), "envs"))), "six==1.16.0").Lock
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs")) // another node
	calls := loggingUV(t, &cfg, "")
	b := started(t, cfg)
	env, err := b.Ensure(t.Context(), Request{Lock: locked, Requirements: "six==1.17.0", Python: "3.99"})
	if err != nil {
		t.Fatal(err)
	}
	if env.Lock != locked || env.Reused || calls("pip compile") != 0 {
		t.Errorf("%+v after %d resolutions", env, calls("pip compile"))
	}
	if _, err := os.Stat(filepath.Join(env.Path, "lib", "python"+env.Interpreter.Minor, "site-packages", "six-1.16.0.dist-info")); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(env.Path); err != nil {
		t.Fatal(err)
	}
	again, err := b.Ensure(t.Context(), Request{Lock: locked})
	if err != nil || again.Key != env.Key || again.Lock != locked || calls("pip compile") != 0 {
		t.Errorf("after it was deleted: %+v, %v", again, err)
	}
	if found, err := b.Ensure(t.Context(), Request{Lock: locked}); err != nil || !found.Reused {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestUpgradeResolvesAnew(t *testing.T) {
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	calls := loggingUV(t, &cfg, "")
	b := started(t, cfg)
	for want, upgrade := range []bool{false, false, true} {
		if _, err := b.Ensure(t.Context(), Request{Requirements: "six", Upgrade: upgrade}); err != nil {
			t.Fatal(err)
		}
		if got := calls("pip compile"); got != max(1, want) {
			t.Errorf("deploy %d: %d resolutions", want, got)
		}
	}
	text, err := b.Lock(t.Context(), Request{Requirements: "six"})
	if err != nil || calls("pip compile") != 3 || calls("pip sync") != 1 {
		t.Errorf("Lock: %v; %d resolutions, %d installations", err, calls("pip compile"), calls("pip sync"))
	}
	python, packages := LockedPackages(text)
	if !strings.HasPrefix(python, "3.") || !slices.ContainsFunc(packages, func(p Package) bool { return p.Name == "six" }) {
		t.Errorf("%s %v", python, packages)
	}
	noneLeft(t, b)
}

// TestALockedEnvironmentThatWasAskedForStays cleans up between the answer and the start of a program.
func TestALockedEnvironmentThatWasAskedForStays(t *testing.T) {
	b, _ := folderBuilder(t, "one")
	env := ensure(t, b, "one")
	age(t, b, env.Key, 48*time.Hour)
	if again, err := b.Ensure(t.Context(), Request{Lock: env.Lock}); err != nil || !again.Reused {
		t.Fatalf("%+v, %v", again, err)
	}
	if gone, err := b.Prune(t.Context(), Policy{Keep: 24 * time.Hour}); err != nil || len(gone) > 0 {
		t.Errorf("one that was just asked for went: %+v, %v", gone, err)
	}
	if _, ok := b.Lookup(env.Key); !ok {
		t.Error("the environment is gone")
	}
}

func TestALockOfAPythonThatIsNotHere(t *testing.T) {
	lines := "six==1.16.0 --hash=" + sum + "\n"
	for _, header := range []string{"# python 3.99.1 " + platformOf(t) + "\n", "# python 3.11.2 plan9-mips\n"} {
		_, err := sharedBuilder(t).Ensure(t.Context(), Request{Lock: header + lines})
		var e *BuildError
		if !errors.As(err, &e) || e.Reason != ReasonNoInterpreter || !strings.Contains(e.Remedy, "--upgrade") {
			t.Errorf("%s: %v", header, err)
		}
	}
}

func platformOf(t *testing.T) string {
	t.Helper()
	return sharedBuilder(t).Interpreters(t.Context())[0].Platform
}

func TestAStoredLockHoldsNothingButPackages(t *testing.T) {
	const header = "# python 3.11.2 linux-x86_64\n"
	for _, text := range []string{
		"", "six==1.16.0 --hash=" + sum, header + "six", header + "six==1.16.0", header + "-e . --hash=" + sum,
		header + "six @ file:///etc/passwd --hash=" + sum, header + "six==1.0 --hash=" + sum + " --index-url x",
		"# python 3.11.2 linux --x\nsix==1.0 --hash=" + sum,
	} {
		if l, err := readLock(text); err == nil {
			t.Errorf("%q is taken for a lock: %q", text, l.text)
		}
	}
	text := header + "a==1 --hash=" + sum + "\nb==2 --hash=" + sum + "\n"
	if l, err := readLock(text); err != nil || l.text != text || l.version != "3.11.2" || l.platform != "linux-x86_64" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestSameRequirements(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"", "\n# nothing\n", true},
		{"Pillow==9.5.0\nsix", "six  # why\npillow == 9.5.0\n", true},
		{"six", "six==1.16.0", false},
		{"", "fastapi", false},
		{"", "uvloop", false}, // what the author names may not be given up
		{"six --hash=" + sum, "six", false},
		{"-e .", "-e .", true},
		{"-e .", "-e ..", false},
	} {
		if got := SameRequirements(c.a, c.b); got != c.same {
			t.Errorf("%q and %q: %t", c.a, c.b, got)
		}
	}
}

func FuzzReadLock(f *testing.F) {
	f.Add("# python 3.11.2 linux-x86_64\nsix==1.16.0 --hash=" + sum + "\n")
	f.Add("# python 3.11.2 linux\nsix==1 \\\n --hash=" + sum)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := readLock(text)
		if err != nil {
			return
		}
		if again, err := readLock(l.text); err != nil || again.text != l.text {
			t.Fatalf("%q is not read as itself: %+v, %v", l.text, again, err)
		}
	})
}
