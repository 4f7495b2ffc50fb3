package doctor

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Kernel fills in what the operating system of this machine knows. The caller sets the other fields.
func Kernel() Host {
	return Host{
		Root: "/", Machine: machine(), UID: os.Geteuid(), Now: time.Now, Synchronised: synchronised, Steady: steady, Disk: disk,
		Clone: clone, Listen: listen,
	}
}

func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return runtime.GOARCH
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// synchronised asks adjtimex(2), which anybody may do when nothing is set.
func synchronised() (bool, error) {
	state, err := unix.Adjtimex(&unix.Timex{})
	return state != unix.TIME_ERROR, err
}

func steady() bool {
	var last, now unix.Timespec
	for range 10_000 {
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil || now.Nano() < last.Nano() {
			return false
		}
		last = now
	}
	return true
}

// kinds are the file systems that a server may meet, by statfs(2)'s numbers.
var kinds = map[uint32]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.F2FS_SUPER_MAGIC: "f2fs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.TMPFS_MAGIC: "tmpfs", unix.NFS_SUPER_MAGIC: "nfs", unix.CIFS_SUPER_MAGIC: "smb",
	unix.SMB2_SUPER_MAGIC: "smb", unix.FUSE_SUPER_MAGIC: "fuse", unix.V9FS_MAGIC: "9p", unix.MSDOS_SUPER_MAGIC: "vfat",
	0x2fc12fc1: "zfs", 0x00c36400: "ceph",
}

func disk(path string) (Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Disk{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	kind, ok := kinds[uint32(s.Type)]
	if !ok {
		kind = fmt.Sprintf("%#x", uint32(s.Type))
	}
	return Disk{
		Type: kind, FreeBytes: s.Bavail * uint64(s.Bsize), FreeInodes: s.Ffree, Inodes: s.Files,
		ReadOnly: s.Flags&unix.ST_RDONLY != 0, NoExec: s.Flags&unix.ST_NOEXEC != 0,
	}, nil
}

func clone(ctx context.Context, flags uintptr, uid uint32) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(uid), Size: 1}}
	cmd := exec.CommandContext(ctx, "/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, UidMappings: one}
	out, err := cmd.CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

func listen(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
