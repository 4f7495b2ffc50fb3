package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// What a disk should have. Builds stop below the reserve, of their own accord (package pythonenv).
const (
	reserve      = 512 << 20
	comfortable  = 2 << 30
	fullBytes    = 32 << 20
	fullInodes   = 1000
	comfortInode = 50_000 // an environment has some thousand files
)

// directory looks at the data directory and the way to it.
func (e *exam) directory(context.Context) {
	const name = "data directory"
	for _, dir := range e.way() {
		info, err := os.Stat(e.path(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		switch {
		case err != nil:
			e.miss(name, "choose another with --data-dir", "%s: %v", e.DataDir, reason(err))
			return
		case !info.IsDir():
			e.miss(name, "choose another with --data-dir", "%s is no directory", dir)
			return
		case info.Mode().Perm()&0o001 == 0:
			e.miss(name, "run `chmod o+x "+dir+"`, or choose another with --data-dir",
				"%s is on the way to it and cannot be passed by other users, as sandboxes are", dir)
			return
		}
	}
	info, err := os.Stat(e.path(e.DataDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.ok(name, "%s will be made by serve", e.DataDir)
	case err != nil:
		e.miss(name, "choose another with --data-dir", "%s: %v", e.DataDir, reason(err))
	default:
		e.present(name, info)
	}
}

// way lists the directories above the data directory, nearest first, and those above what symbolic links lead to.
func (e *exam) way() []string {
	all := above(e.DataDir)
	there := e.DataDir
	for there != "/" && there != "." {
		if _, err := os.Stat(e.path(there)); err == nil {
			break
		}
		there = filepath.Dir(there)
	}
	root, errA := filepath.EvalSymlinks(e.Root)
	end, errB := filepath.EvalSymlinks(e.path(there))
	inside, errC := filepath.Rel(root, end)
	if errors.Join(errA, errB, errC) == nil {
		all = append(all, above(filepath.Join("/", inside))...)
	}
	return all
}

// above lists the directories above one, nearest first, without the root.
func above(path string) (all []string) {
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		all = append(all, dir)
	}
	return all
}

// present is as strict as serve is.
func (e *exam) present(name string, info fs.FileInfo) {
	owner := info.Sys().(*syscall.Stat_t).Uid
	mode := info.Mode().Perm()
	switch {
	case !info.IsDir():
		e.miss(name, "choose another with --data-dir", "%s is no directory", e.DataDir)
	case owner != 0:
		e.miss(name, "run `chown 0 "+e.DataDir+"`, or choose another with --data-dir", "%s belongs to user %d", e.DataDir, owner)
	case mode&0o022 != 0:
		e.miss(name, "run `chmod go-w "+e.DataDir+"`", "%s has mode %04o: others can write to it", e.DataDir, mode)
	case mode&0o001 == 0:
		e.miss(name, "run `chmod o+x "+e.DataDir+"`", "%s has mode %04o: sandboxes cannot pass through it", e.DataDir, mode)
	default:
		e.ok(name, "%s, owner root, mode %04o", e.DataDir, mode)
	}
}

// reason is an error without its path, which may be a test's.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// remote are file systems on which locks, owners or SQLite's shared memory do not work as on a disk.
var remote = []string{"nfs", "smb", "fuse", "9p", "vfat", "ceph"}

// disk looks at the file system of the data directory, or of the nearest directory above that is there.
func (e *exam) disk(context.Context) {
	const name = "disk"
	dir := e.DataDir
	for dir != "/" && dir != "." {
		if _, err := os.Stat(e.path(dir)); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	d, err := e.Disk(e.path(dir))
	if err != nil {
		e.warn(name, "look at it with `df`", "it cannot be looked at: %v", reason(err))
		return
	}
	found := sizeText(d.FreeBytes) + " free on " + d.Type
	if d.Inodes > 0 {
		found += ", " + countText(d.FreeInodes) + " inodes free"
	}
	const free, other = "free some space, or choose another place with --data-dir", "choose another place with --data-dir"
	low := func(bytes, inodes uint64) bool { return d.FreeBytes < bytes || d.Inodes > 0 && d.FreeInodes < inodes }
	switch {
	case d.ReadOnly:
		e.miss(name, other, "%s; mounted read-only", found)
	case d.NoExec:
		e.miss(name, "mount it without noexec, or "+other, "%s; mounted noexec, so that neither nsjail nor packages run", found)
	case low(fullBytes, fullInodes):
		e.miss(name, free, "%s", found)
	case low(reserve, fullInodes):
		e.warn(name, free, "%s; environments are built only while %s are free", found, sizeText(reserve))
	case slices.ContainsFunc(remote, func(kind string) bool { return strings.HasPrefix(d.Type, kind) }):
		e.warn(name, "use a disk of this machine: locks and the database may not work there", "%s", found)
	case d.Type == "tmpfs":
		e.warn(name, other, "%s, which is memory: everything is gone after a restart", found)
	case low(comfortable, comfortInode):
		e.warn(name, free, "%s; an environment with large packages takes more than 1 GiB", found)
	default:
		e.ok(name, "%s", found)
	}
}
