package pythonenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// folderBuilder installs only from a folder of wheels made by the test, without any index: name-1.0 for each name, and
// what the runner needs as empty packages.
func folderBuilder(t *testing.T, names ...string) (*Builder, Config) {
	t.Helper()
	links := tempDir(t)
	for _, p := range runtimePackages {
		module := strings.ReplaceAll(p.name, "-", "_")
		writeWheel(t, links, module, map[string]string{module + "/__init__.py": "x = 1\n" + strings.Repeat("# "+p.name+"\n", 3000)})
	}
	for _, name := range names {
		writeWheel(t, links, name, map[string]string{name + ".py": "name = " + fmt.Sprintf("%q", name) + "\n"})
	}
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.IndexURL, cfg.FindLinks, cfg.Offline = "", []string{links}, true
	return started(t, cfg), cfg
}

// age makes environments look as if they were used so long ago.
func age(t *testing.T, b *Builder, key string, d time.Duration) {
	t.Helper()
	then := time.Now().Add(-d)
	m, err := readManifest(b.cfg.Dir, key)
	if err != nil {
		t.Fatal(err)
	}
	m.Created = then.Add(-time.Minute)
	b.touch(key)
	if err := os.Chtimes(b.path(usedDir, key), then, then); err != nil {
		t.Fatal(err)
	}
	if err := writeManifest(b.path(key), m); err != nil {
		t.Fatal(err)
	}
}

func keys(list []Pruned) (keys []string) {
	for _, p := range list {
		keys = append(keys, p.Key)
	}
	return keys
}

func TestPrune(t *testing.T) {
	b, _ := folderBuilder(t, "one", "two", "three")
	old, used, fresh := ensure(t, b, "one"), ensure(t, b, "two"), ensure(t, b, "three")
	all, err := b.List()
	if err != nil || len(all) != 3 || all[0].Packages != 7 || all[0].Bytes == 0 || all[0].Python == "" {
		t.Fatalf("%+v, %v", all, err)
	}
	age(t, b, old.Key, 48*time.Hour)
	age(t, b, used.Key, 48*time.Hour)
	policy := Policy{Keep: 24 * time.Hour, InUse: map[string]bool{used.Key: true}, DryRun: true}
	for _, dry := range []bool{true, false} {
		policy.DryRun = dry
		gone, err := b.Prune(t.Context(), policy)
		if err != nil || !slices.Equal(keys(gone), []string{old.Key}) || gone[0].Reason != "age" {
			t.Errorf("dry %t: %+v, %v", dry, gone, err)
		}
		if _, ok := b.Lookup(old.Key); ok != dry {
			t.Errorf("dry %t: the old one is there: %t", dry, ok)
		}
	}
	age(t, b, fresh.Key, 2*time.Hour)
	if gone, err := b.Prune(t.Context(), Policy{MaxBytes: 1, InUse: policy.InUse}); err != nil || !slices.Equal(keys(gone), []string{fresh.Key}) {
		t.Errorf("by size: %+v, %v", gone, err)
	}
	if again := ensure(t, b, "one"); again.Reused || again.Key != old.Key {
		t.Errorf("after it went: %+v", again)
	}
	if gone, err := b.Prune(t.Context(), Policy{MaxBytes: 1}); err != nil || !slices.Equal(keys(gone), []string{used.Key}) {
		t.Errorf("one that was just asked for went: %+v, %v", gone, err)
	}
	noneLeft(t, b)
}

func TestEqualFilesAreOneFile(t *testing.T) {
	b, _ := folderBuilder(t, "one", "two")
	before, _, err := b.DiskBytes()
	if err != nil {
		t.Fatal(err)
	}
	one := ensure(t, b, "one")
	first, _, _ := b.DiskBytes()
	two := ensure(t, b, "two")
	second, _, _ := b.DiskBytes()
	t.Logf("the first takes %d KiB, the second %d KiB more", (first-before)>>10, (second-first)>>10)
	name := "lib/python" + one.Interpreter.Minor + "/site-packages/fastapi/__init__.py"
	var a, c unix.Stat_t
	if unix.Lstat(filepath.Join(one.Path, name), &a) != nil || unix.Lstat(filepath.Join(two.Path, name), &c) != nil ||
		a.Ino != c.Ino || a.Uid != 0 || a.Mode&0o222 != 0 {
		t.Errorf("%+v, %+v", a, c)
	}
	if shared, err := os.Stat(b.path(filesDir)); err != nil || shared.Mode().Perm() != 0o700 {
		t.Errorf("the shared files can be entered: %v", shared.Mode())
	}
	age(t, b, two.Key, 48*time.Hour)
	if _, err := b.Prune(t.Context(), Policy{Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if after, _, _ := b.DiskBytes(); after > first+8192 {
		t.Errorf("%d bytes on the disk after the second went, %d before it came", after, first)
	}
	if found, err := b.Verify(t.Context(), one.Key); err != nil || len(found) > 0 {
		t.Errorf("the first is %v, %v", found, err)
	}
	if known(b) == 0 {
		t.Error("no shared file is known to be sound")
	}
	age(t, b, one.Key, 48*time.Hour)
	if _, err := b.Prune(t.Context(), Policy{Keep: time.Hour}); err != nil || known(b) > 0 {
		t.Errorf("%d files are known that have gone, %v", known(b), err)
	}
}

// known counts the shared files that were found to be sound.
func known(b *Builder) int {
	n := 0
	for range b.sound.Range {
		n++
	}
	return n
}

func TestTheCacheIsBounded(t *testing.T) {
	b, _ := folderBuilder(t, "one")
	ensure(t, b, "one")
	if _, cache, err := b.DiskBytes(); err != nil || cache < 4096 {
		t.Fatal(cache, err)
	}
	unlock, err := lockShared(t.Context(), b.path(locksDir, "scratch")) // as a build does
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Prune(t.Context(), Policy{CacheBytes: 1})
	if _, statErr := os.Stat(b.path(cacheDir, "uv")); err != nil || statErr != nil {
		t.Errorf("while somebody builds: %v, %v", err, statErr)
	}
	unlock()
	_, err = b.Prune(t.Context(), Policy{CacheBytes: 1})
	if _, statErr := os.Stat(b.path(cacheDir, "uv")); err != nil || !os.IsNotExist(statErr) {
		t.Errorf("afterwards: %v, %v", err, statErr)
	}
	ensure(t, b, "") // and goes on
}

func TestVerifyFindsTampering(t *testing.T) {
	b, _ := folderBuilder(t, "one")
	env := ensure(t, b, "one")
	if found, err := b.Verify(t.Context(), env.Key); err != nil || len(found) > 0 {
		t.Fatal(found, err)
	}
	packages := "lib/python" + env.Interpreter.Minor + "/site-packages/"
	in := func(name string) string { return filepath.Join(env.Path, packages, name) }
	for _, err := range []error{
		os.WriteFile(in("one.py"), []byte("name = 'two'\n"), 0o444), os.Remove(in("uvicorn/__init__.py")),
		os.WriteFile(in("added.py"), nil, 0o444), os.Chmod(in("fastapi/__init__.py"), 0o666),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	found, err := b.Verify(t.Context(), env.Key)
	want := []Finding{
		{packages + "added.py", "added"},
		{packages + "fastapi/__init__.py", "changed"},
		{packages + "one.py", "changed"},
		{packages + "uvicorn/__init__.py", "missing"},
	}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("%v, %v", found, err)
	}
	if err := os.WriteFile(filepath.Join(env.Path, contentsName), []byte("{}"), 0o444); err != nil {
		t.Fatal(err)
	}
	if found, err := b.Verify(t.Context(), env.Key); err != nil || len(found) != 1 || found[0].Path != contentsName {
		t.Errorf("with another list: %v, %v", found, err)
	}
	if _, err := b.Verify(t.Context(), "../x"); err == nil {
		t.Error("a path is a key")
	}
}

func TestPackagesThatReplaceTheEnvironmentsOwnFiles(t *testing.T) {
	b, cfg := folderBuilder(t)
	for i, member := range []string{"pyvenv.cfg", "bin/python", manifestName, contentsName} {
		name := fmt.Sprintf("apibuilder_replaces_%d", i)
		writeWheel(t, cfg.FindLinks[0], name, map[string]string{name + "-1.0.data/data/" + member: "x"})
		if _, err := b.Ensure(t.Context(), Request{Requirements: name}); err == nil {
			t.Errorf("%s was replaced", member)
		} else {
			t.Logf("%s: %v", member, err)
		}
	}
	noneLeft(t, b)
}

// TestAnEnvironmentThatMayHaveLostFiles has one from before the machine's last start, on the disk and not.
func TestAnEnvironmentThatMayHaveLostFiles(t *testing.T) {
	b, cfg := folderBuilder(t)
	env := ensure(t, b, "")
	if err := b.Stop(t.Context()); err != nil { // which waits until it is on the disk
		t.Fatal(err)
	}
	m, err := readManifest(cfg.Dir, env.Key)
	if err != nil {
		t.Fatal(err)
	}
	m.Boot = "another"
	if err := writeManifest(env.Path, m); err != nil {
		t.Fatal(err)
	}
	b = started(t, cfg)
	if again := ensure(t, b, ""); !again.Reused {
		t.Error("one that was on the disk is built again")
	}
	if err := os.Remove(b.path(durableDir, env.Key)); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Lookup(env.Key); ok {
		t.Error("one that was not on the disk is used")
	}
	if again := ensure(t, b, ""); again.Reused || again.Key != env.Key {
		t.Errorf("%+v", again)
	}
}

// TestADamagedSharedFileIsNotUsedAgain damages a file that environments share, as a power cut does before it is on the disk.
func TestADamagedSharedFileIsNotUsedAgain(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"changed": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("#"), 20)
			return errors.Join(err, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := folderBuilder(t, "one", "two")
			env := ensure(t, b, "one")
			entries, err := readContents(env.Path, mustManifest(t, b, env.Key).Contents)
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(entries, func(e entry) bool { return e.Size >= sharedBytes })
			if at < 0 {
				t.Fatal("no file is large enough to be shared")
			}
			if err := damage(b.sharedPath(entries[at])); err != nil {
				t.Fatal(err)
			}
			if found, err := b.Verify(t.Context(), env.Key); err != nil || len(found) == 0 {
				t.Fatalf("the damage is not found: %v, %v", found, err)
			}
			two := ensure(t, b, "two")
			if found, err := b.Verify(t.Context(), two.Key); err != nil || len(found) > 0 {
				t.Errorf("another environment: %v, %v", found, err)
			}
			age(t, b, env.Key, 48*time.Hour)
			if _, err := b.Prune(t.Context(), Policy{Keep: 24 * time.Hour}); err != nil {
				t.Fatal(err)
			}
			again := ensure(t, b, "one")
			if found, err := b.Verify(t.Context(), again.Key); err != nil || again.Reused || len(found) > 0 {
				t.Errorf("built again (reused %t): %v, %v", again.Reused, found, err)
			}
		})
	}
}

func mustManifest(t *testing.T, b *Builder, key string) manifest {
	t.Helper()
	m, err := readManifest(b.cfg.Dir, key)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
