package pythonenv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nest makes directories in each other, each with a file, the deeper of which no path can name.
func nest(t *testing.T, top string, levels int) {
	t.Helper()
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range levels {
		if err != nil {
			break
		}
		inner := -1
		if err = errors.Join(unix.Mkdirat(fd, "d", 0o700), unix.Mknodat(fd, "f", unix.S_IFREG|0o600, 0)); err == nil {
			inner, err = unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		_ = unix.Close(fd)
		fd = inner
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
}

// fewDescriptors lets this process open no more than that many until the test ends.
func fewDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fewer := limit
	fewer.Cur = n
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &fewer); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
}

// TestScratchThatIsVeryDeep has a dead build leave more levels of directories than this process may have descriptors.
func TestScratchThatIsVeryDeep(t *testing.T) {
	b := New(smallConfig(t, filepath.Join(tempDir(t), "envs")))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, remove, err := b.openScratch(t.Context(), sources{})
	if err != nil {
		t.Fatal(err)
	}
	nest(t, s.work, 3000)
	fewDescriptors(t, 1000)
	remove()
	noneLeft(t, b)
	nest(t, b.path(scratchDir), 3000)
	if err := b.removeDeadScratch(); err != nil {
		t.Errorf("what a dead build left keeps the server from starting: %.200s", err.Error())
	}
	noneLeft(t, b)
}

func TestRemoveTree(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	top := filepath.Join(t.TempDir(), "top")
	wide := filepath.Join(top, "closed", strings.Repeat("x", 255))
	if err := errors.Join(
		os.MkdirAll(wide, 0o755), os.Symlink(outside, filepath.Join(top, "link")), os.Mkdir(filepath.Join(top, ".deep-1"), 0o755),
		os.WriteFile(filepath.Join(top, ".deep-1", "f"), nil, 0o600), unix.Mkfifo(filepath.Join(top, "a\n\xff"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	nest(t, wide, 3*removeDepth)
	for range 2000 {
		if f, err := os.CreateTemp(wide, ""); err != nil {
			t.Fatal(err)
		} else if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(top, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{top, top, filepath.Join(top, "absent")} {
		if err := removeTree(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(top); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("what a link leads to: %v", err)
	}
}
