package pythonenv

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o644) }

func TestInterpretersDescribeThemselves(t *testing.T) {
	dir := tempDir(t)
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	scripts := map[string]string{
		closed + "/python3": "#!/bin/sh\necho ran > " + dir + "/ran\n",
		dir + "/broken":     "#!/bin/sh\necho '{'\n",
		dir + "/old":        `#!/bin/sh` + "\n" + `echo '{"version":"3.8.1","minor":"3.8"}'` + "\n",
	}
	cfg := testConfig(filepath.Join(dir, "envs"))
	for path, text := range scripts {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		cfg.Interpreters = append(cfg.Interpreters, path)
	}
	b := started(t, cfg)
	all := b.Interpreters(t.Context())
	if len(all) == 0 || all[0].Unusable != "" {
		t.Fatalf("the default is %+v", all)
	}
	first := all[0]
	if real, err := filepath.EvalSymlinks("/usr/bin/python3"); err == nil && first.Path != real {
		t.Errorf("the default is %s, want %s", first.Path, real)
	}
	if first.Minor == "" || !strings.HasPrefix(first.Version, first.Minor+".") || first.Implementation != "cpython" ||
		!slices.Contains(first.Mounts, first.Path) && !slices.Contains(first.Mounts, first.Prefix) {
		t.Errorf("%+v", first)
	}
	for _, path := range first.Mounts {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a mount: %v", err)
		}
	}
	unusable := map[string]string{}
	for _, i := range all {
		unusable[i.Path] = i.Unusable
	}
	if reason := unusable[closed+"/python3"]; !strings.Contains(reason, "chmod o+x "+closed) {
		t.Errorf("the closed one: %q", reason)
	}
	if reason := unusable[dir+"/broken"]; reason == "" {
		t.Error("the broken one is usable")
	}
	if _, listed := unusable[dir+"/old"]; listed {
		t.Error("the old one is listed")
	}
	if _, err := os.Stat(dir + "/ran"); err == nil {
		t.Error("the closed one was run")
	}
}

func TestMountsOfAnInterpreterWithItsOwnPrefix(t *testing.T) {
	got := mounts(Interpreter{Path: "/opt/py/bin/python3.12", Prefix: "/opt/py", Stdlib: "/opt/py/lib/python3.12"}, "/opt/py", "/opt/py/lib/python3.12")
	if !slices.Equal(got, []string{"/opt/py"}) {
		t.Errorf("%v", got)
	}
	got = mounts(Interpreter{Path: "/usr/bin/python3.11", Prefix: "/usr", Stdlib: "/usr/lib/python3.11"}, "/usr", "/usr/lib/python3.11")
	if !slices.Equal(got, []string{"/usr/bin/python3.11", "/usr/lib/python3.11"}) {
		t.Errorf("%v", got)
	}
}

// TestInterpretersOfAFullDisk starts a server while its disk is full.
func TestInterpretersOfAFullDisk(t *testing.T) {
	b := New(smallConfig(t, filepath.Join(tempDir(t), "envs")))
	b.reserve = 1 << 62
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.choose(t.Context(), ""); err != nil {
		t.Errorf("while the disk is full: %v", err)
	}
}

func TestAnInterpreterThatWasKilledIsAskedAgain(t *testing.T) {
	dir := tempDir(t)
	python, marker := filepath.Join(dir, "python3"), filepath.Join(dir, "killed")
	real, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		t.Fatal(err)
	}
	text := "#!/bin/sh\n[ -e " + marker + " ] || kill -9 $$\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(python, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	b := started(t, smallConfig(t, filepath.Join(dir, "envs")))
	if i := b.describe(t.Context(), python); !strings.Contains(i.Unusable, "killed") {
		t.Errorf("while it is killed: %+v", i)
	}
	if err := os.WriteFile(marker, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if i := b.describe(t.Context(), python); i.Unusable != "" {
		t.Errorf("afterwards: %s", i.Unusable)
	}
}
