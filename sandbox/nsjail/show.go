package nsjail

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"apibuilder/sandbox"
)

// Show implements sandbox.Sandbox. The directory becomes a mount of its own, which this process carries into the sandbox's
// mount namespace and puts over the empty directory that is there. So nothing has to be known when the sandbox is started, no
// file is copied, and no mount is ever seen on the host.
func (p *process) Show(dir string) error {
	held, err := hold(dir)
	if err != nil {
		return fmt.Errorf("hold the program's files: %w", err)
	}
	err = p.mount(held)
	if err != nil {
		held.Close()
		return fmt.Errorf("show the program's files: %w", err)
	}
	go func() {
		<-p.done
		held.Close() // and the lock with it
	}()
	return nil
}

func hold(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// mount is what open_tree(2) and move_mount(2) are for.
func (p *process) mount(dir *os.File) error {
	tree, err := unix.OpenTree(int(dir.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("make a mount of the directory: %w", err)
	}
	defer unix.Close(tree)
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE,
	})
	if err != nil {
		return fmt.Errorf("make the mount read-only: %w", err)
	}
	namespace, err := p.mountNamespace()
	if err != nil {
		return err
	}
	defer namespace.Close()
	return onOwnThread(func() error {
		// A thread shares its root and working directory with the others until it says otherwise (setns(2)).
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("prepare to enter the sandbox: %w", err)
		}
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the sandbox: %w", err)
		}
		if err := unix.MoveMount(tree, "", unix.AT_FDCWD, sandbox.FilesDir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("put the mount into the sandbox: %w", err)
		}
		return nil
	})
}

// mountNamespace opens that of PID 1 inside, which is nsjail's only child. This process is nsjail's parent and has not waited
// for it, so its number is nobody else's. Its child's might be, when it has ended: so whose child it is, is looked at once the file
// is open.
func (p *process) mountNamespace() (*os.File, error) {
	pids, err := p.group.Procs()
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if parentOf(pid) != p.cmd.Process.Pid {
			continue
		}
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
		if err != nil {
			return nil, fmt.Errorf("find the sandbox's mounts: %w", err)
		}
		if parentOf(pid) == p.cmd.Process.Pid {
			return f, nil
		}
		f.Close()
	}
	return nil, errors.New("the sandbox has ended")
}

// parentOf reads the fourth field of proc_pid_stat(5), after a name that may hold anything; 0 when there is no such process.
func parentOf(pid int) int {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// onOwnThread runs f on a thread that ends with it, because nobody else may run where f has taken it. The main thread cannot be
// ended: it is held meanwhile, so that f gets another.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			done <- onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f() // never unlocked
	}()
	return <-done
}
