package bundle

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestShelfLaysOut(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	b := bundleOf(t, map[string]string{"main.py": makes, "a/b/c.txt": "deep"})
	s := NewShelf(filepath.Join(t.TempDir(), "files"))
	if _, ok := s.Find(b.Hash()); ok {
		t.Error("it is there before it was put")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.Put(b); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	dir, ok := s.Find(b.Hash())
	if !ok {
		t.Fatal("it is not there")
	}
	for path, mode := range map[string]os.FileMode{"": 0o755, "a/b": 0o755, "main.py": 0o444, "a/b/c.txt": 0o444, "..": 0o700} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q has mode %v, %v", path, info.Mode(), err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
	for _, hash := range []string{"", "../" + b.Hash(), "x", b.Hash()[:63] + "G"} {
		if _, ok := s.Find(hash); ok {
			t.Errorf("%q is found", hash)
		}
	}
}

// TestShelfForgets takes off what was not used for long, but not what a sandbox sees, nor what is of this day; and what is from
// before the machine started.
func TestShelfForgets(t *testing.T) {
	s := NewShelf(filepath.Join(t.TempDir(), "files"))
	dirs := map[string]string{}
	for _, name := range []string{"old", "held", "used"} {
		dir, err := s.Put(bundleOf(t, map[string]string{"main.py": name}))
		if err != nil {
			t.Fatal(err)
		}
		dirs[name] = dir
	}
	long := time.Now().Add(-25 * time.Hour)
	for _, dir := range dirs {
		if err := os.Chtimes(dir, long, long); err != nil {
			t.Fatal(err)
		}
	}
	s.Find(filepath.Base(dirs["used"]))
	held, err := os.Open(dirs["held"])
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(s.dir, "another-boot", "x")
	if err := os.MkdirAll(before, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(bundleOf(t, map[string]string{"main.py": "new"})); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"old": false, "held": true, "used": true} {
		if _, err := os.Stat(dirs[name]); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	if _, err := os.Stat(before); err == nil {
		t.Error("what is from before the machine started is there")
	}
}
