package pythonenv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
