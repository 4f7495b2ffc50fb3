package pythonenv

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestNoPackageCodeRunsInABuild installs packages that try: a .pth file, sitecustomize, a module named like one that the
// compiler imports, and a source distribution.
func TestNoPackageCodeRunsInABuild(t *testing.T) {
	dir := tempDir(t)
	ran := filepath.Join(dir, "ran")
	if err := errors.Join(os.WriteFile(ran, nil, 0o666), os.Chmod(ran, 0o666)); err != nil {
		t.Fatal(err)
	}
	act := func(how string) string { return "open('" + ran + "','a').write('" + how + "\\n')\n" }
	links := filepath.Join(dir, "links")
	if err := os.Mkdir(links, 0o755); err != nil {
		t.Fatal(err)
	}
	writeWheel(t, links, "apibuilder_hostile", map[string]string{
		"apibuilder_hostile.pth": "import sys; " + act("pth"),
		"sitecustomize.py":       act("sitecustomize"),
		"usercustomize.py":       act("usercustomize"),
		"compileall.py":          act("compileall"),
		"zipfile.py":             act("zipfile"),
		"apibuilder_broken.py":   "this is (not Python\n",
		"apibuilder_deep.py":     "x = " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + "\n",
		"apibuilder_null.py":     "\x00",
		"apibuilder_fine.py":     "x = 1\n",
		"tool.suid":              "#!/bin/sh\n",
		"apibuilder_hostile-1.0.data/scripts/apibuilder.suid": "#!python\n",
	})
	writeSdist(t, links, "apibuilder_source", act("setup.py"))
	cfg := smallConfig(t, filepath.Join(dir, "envs"))
	cfg.FindLinks = append(cfg.FindLinks, links, filepath.Join(dir, "absent"))
	b := started(t, cfg)

	env := ensure(t, b, "apibuilder-hostile")
	_, err := b.Ensure(t.Context(), Request{Requirements: "apibuilder-source"})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonNoWheel {
		t.Errorf("a source distribution: %v", err)
	}
	if text, err := os.ReadFile(ran); err != nil || len(text) > 0 {
		t.Errorf("package code ran: %s, %v", text, err)
	}
	packages := filepath.Join(env.Path, "lib", "python"+env.Interpreter.Minor, "site-packages")
	for _, path := range []string{packages + "/tool.suid", env.Path + "/bin/apibuilder.suid"} {
		if info, err := os.Stat(path); err != nil || info.Mode()&(os.ModeSetuid|os.ModeSetgid|0o222) != 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	compiled, _ := filepath.Glob(packages + "/__pycache__/apibuilder_fine.*.pyc")
	if len(compiled) != 1 {
		t.Error("a module beside broken ones was not compiled")
	}
}

func TestWheelsThatLeadOutOfTheEnvironment(t *testing.T) {
	for _, member := range []string{"../../../../../../outside", "/outside"} {
		dir := tempDir(t)
		links := filepath.Join(dir, "links")
		if err := os.Mkdir(links, 0o755); err != nil {
			t.Fatal(err)
		}
		writeWheel(t, links, "apibuilder_escape", map[string]string{member: "x"})
		cfg := smallConfig(t, filepath.Join(dir, "envs"))
		cfg.FindLinks = append(cfg.FindLinks, links)
		b := started(t, cfg)
		if _, err := b.Ensure(t.Context(), Request{Requirements: "apibuilder-escape"}); err != nil {
			t.Logf("%s: %v", member, err) // refused as a whole: as good as left out
		}
		if _, err := os.Lstat("/outside"); err == nil {
			t.Errorf("%s was written", member)
		}
		_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
			if filepath.Base(path) == "outside" {
				t.Errorf("%s was written to %s", member, path)
			}
			return nil
		})
		noneLeft(t, b)
	}
}

func TestSealRefusesWhatDoesNotBelong(t *testing.T) {
	cases := map[string]func(env string) error{
		"link out":              func(env string) error { return os.Symlink("/etc/passwd", env+"/lib/x") },
		"link up":               func(env string) error { return os.Symlink("../../x", env+"/lib/x") },
		"link to scratch":       func(env string) error { return os.Symlink(env+"/lib", env+"/lib/x") },
		"interpreter elsewhere": func(env string) error { return os.Symlink("/usr/bin/python3", env+"/lib/x") },
		"hard link": func(env string) error {
			return errors.Join(os.WriteFile(env+"/lib/a", nil, 0o644), os.Link(env+"/lib/a", env+"/lib/x"))
		},
		"pipe":                     func(env string) error { return mkfifo(env + "/lib/x") },
		"name that no list holds":  func(env string) error { return os.WriteFile(env+"/lib/\xff", nil, 0o644) },
		"link that no list holds":  func(env string) error { return os.Symlink("\xff", env+"/lib/x") },
		"directory of such a name": func(env string) error { return os.Mkdir(env+"/lib/\xff", 0o755) },
	}
	for name, change := range cases {
		env := tempDir(t)
		if err := errors.Join(os.MkdirAll(env+"/lib", 0o755), os.MkdirAll(env+"/bin", 0o755)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Symlink("/usr/bin/python3", env+"/bin/python"), os.Symlink("lib", env+"/lib64")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := seal(env, "/usr/bin/python3", 1<<30); err != nil {
			t.Fatalf("before %s: %v", name, err)
		}
		if err := change(env); err != nil {
			t.Fatal(err)
		}
		var e *BuildError
		if _, _, err := seal(env, "/usr/bin/python3", 1<<30); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatABuildLeavesIsReadWithCare has in the place of files what root must not open, or not read to its end.
func TestWhatABuildLeavesIsReadWithCare(t *testing.T) {
	interp := Interpreter{Path: "/usr/bin/python3", Minor: "3.11", Implementation: "cpython", Version: "3.11.2"}
	packages := filepath.Join("lib", "python3.11", "site-packages")
	note := filepath.Join(packages, "a-1.dist-info")
	config := func(put func(path string) error) func(env string) error {
		return func(env string) error {
			return errors.Join(os.Remove(env+"/pyvenv.cfg"), put(env+"/pyvenv.cfg"), checkVenv(env, interp))
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte(venvText(interp)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		do   func(env string) error
		want string // of the error
	}{
		"as it was made":    {func(env string) error { return checkVenv(env, interp) }, ""},
		"a pipe":            {config(mkfifo), "replaces pyvenv.cfg"},
		"a directory":       {config(func(path string) error { return os.Mkdir(path, 0o755) }), "replaces pyvenv.cfg"},
		"an endless device": {config(func(path string) error { return os.Symlink("/dev/zero", path) }), "replaces pyvenv.cfg"},
		"a file elsewhere":  {config(func(path string) error { return os.Symlink(outside, path) }), "replaces pyvenv.cfg"},
		"a link to a pipe": {config(func(path string) error {
			return errors.Join(mkfifo(path+".pipe"), os.Symlink("pyvenv.cfg.pipe", path))
		}), "replaces pyvenv.cfg"},
		"a file of holes": {config(func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(venvText(interp)), 0o644), os.Truncate(path, 1<<30))
		}), "replaces pyvenv.cfg"},
		"a module of holes": {func(env string) error {
			path := filepath.Join(env, packages, "a.py")
			if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 4<<30)); err != nil {
				return err
			}
			_, err := listModules(env, 1<<30)
			return err
		}, "more than"},
		"a note of an address": {func(env string) error {
			if err := errors.Join(os.Mkdir(filepath.Join(env, note), 0o755), mkfifo(filepath.Join(env, note, "direct_url.json"))); err != nil {
				return err
			}
			err := prune(env, interp, true)
			if left, _ := os.ReadDir(filepath.Join(env, note)); len(left) > 0 {
				t.Error("the note of an address stays")
			}
			return err
		}, ""},
		"a pipe for notes": {func(env string) error { return errors.Join(mkfifo(filepath.Join(env, note)), prune(env, interp, true)) }, ""},
		"a pipe for packages": {func(env string) error {
			path := filepath.Join(env, packages)
			return errors.Join(os.Remove(path), mkfifo(path), prune(env, interp, true))
		}, "is no directory"},
	} {
		env := tempDir(t)
		if err := errors.Join(
			os.MkdirAll(filepath.Join(env, packages), 0o755), os.Mkdir(env+"/bin", 0o755), os.Symlink(interp.Path, env+"/bin/python"),
			os.WriteFile(env+"/pyvenv.cfg", []byte(venvText(interp)), 0o644),
		); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		go func() { done <- c.do(env) }()
		select {
		case err := <-done:
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s is waited for", name)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
			t.Errorf("%s cost %d MiB", name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

// TestWheelsOfOddShapes has each told to its author, or installed, and the caches looked after as before.
func TestWheelsOfOddShapes(t *testing.T) {
	dir := tempDir(t)
	writeWheel(t, dir, "apibuilder_deep", map[string]string{strings.Repeat("a/", maxDepth+50) + "x.py": "x = 1\n"})
	writeWheel(t, dir, "apibuilder_file", map[string]string{"apibuilder_file/x.py": "x = 1\n", "apibuilder_file/__pycache__": "no directory"})
	b0 := sharedBuilder(t)
	interp, err := b0.choose(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	writeWheel(t, dir, "apibuilder_folder", map[string]string{
		"apibuilder_folder/x.py": "x = 1\n", compiledPath("apibuilder_folder/x.py", interp) + "/inner": "no byte-code",
	})
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	cfg.FindLinks = append(cfg.FindLinks, dir)
	b := started(t, cfg)
	for name, want := range map[string]string{
		"apibuilder-deep": "directories in each other", "apibuilder-file": "__pycache__ is no directory", "apibuilder-folder": "",
	} {
		_, err := b.Ensure(t.Context(), Request{Requirements: name})
		var e *BuildError
		if want == "" && err != nil || want != "" && (!errors.As(err, &e) || e.Reason != ReasonFailed || !strings.Contains(e.Message, want)) {
			t.Errorf("%s: %v", name, err)
		}
		noneLeft(t, b)
	}
	if _, cache, err := b.DiskBytes(); err != nil || cache == 0 {
		t.Errorf("the cache has %d bytes, %v", cache, err)
	}
}
