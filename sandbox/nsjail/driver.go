// Package nsjail makes sandboxes with nsjail (github.com/google/nsjail). nsjail makes the namespaces and mounts, sets the
// resource limits and the seccomp filter, and watches its child; the control group and the sockets are this process's.
package nsjail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"apibuilder/sandbox"
	"apibuilder/sandbox/cgroup"
)

// Config is what a Driver needs.
type Config struct {
	// Nsjail is the path of the nsjail binary, version 3.6.
	Nsjail string
	// Dir is a directory of root's that other users may pass through (mode 0711), for the runner and the sockets.
	Dir string
	// Instance tells this server's control groups from those of others on this host: letters, digits, - and _. Whatever
	// is found under it at Start is a dead server's and is ended.
	Instance string
	// Sockets is the name of the directory below Dir that holds the listening sockets; empty: run. It is this driver's
	// alone, and emptied at Start.
	Sockets string
	// UIDs are the host's users that sandboxes may have, one for each.
	UIDs UIDRange
	// IO bounds what each sandbox may read and write of block devices; none by default, because a sandbox writes to none
	// and reads only its environment.
	IO []cgroup.IOLimit
	// Network says that sandboxes may be launched with a network; Start checks that this host can make one.
	Network bool
}

// Driver makes sandboxes with nsjail. It needs root.
type Driver struct {
	cfg       Config
	layout    layout
	uids      *uidPool
	tree      *cgroup.Tree
	heard     *refusals
	locks     *lockWatch
	queues    *tcpWatch
	closing   sync.WaitGroup // networks of sandboxes that have ended
	leftovers *leftovers     // sandboxes that have not ended in time
	sockets   *os.File       // the directory of the listening sockets, which only root can enter
}

var _ sandbox.Driver = (*Driver)(nil)

// New does no I/O; Start does.
func New(cfg Config) *Driver {
	cfg.Sockets = cmp.Or(cfg.Sockets, "run")
	return &Driver{cfg: cfg, leftovers: newLeftovers()}
}

// Start implements sandbox.Driver.
func (d *Driver) Start(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("making sandboxes needs root: start the server as root, for example with sudo")
	}
	if err := forbidCores(); err != nil {
		return err
	}
	if d.tree, err = cgroup.Open(d.cfg.Instance); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop(ctx))
		}
	}()
	if err := d.tree.Clean(ctx); err != nil {
		return fmt.Errorf("end what a dead server left: %w", err)
	}
	if d.uids, err = openUIDPool(d.cfg.UIDs); err != nil {
		return err
	}
	if d.layout, err = prepareLayout(d.cfg.Dir); err != nil {
		return err
	}
	d.heard = openRefusals()
	d.locks = &lockWatch{newHostWatch(), "/proc"}
	go d.locks.run(lockLook, d.locks.look)
	d.queues = &tcpWatch{hostWatch: newHostWatch(), proc: "/proc"}
	go d.queues.run(tcpLook, d.queues.look)
	if d.sockets, err = openSocketDir(filepath.Join(d.cfg.Dir, d.cfg.Sockets)); err != nil {
		return err
	}
	if err := d.tryNetwork(); err != nil {
		return err
	}
	return d.trial(ctx)
}

// forbidCores gives this process, which nsjail passes it on from, a core dump limit of one byte. That is too little for a
// file, and the only limit at which the kernel gives no dump to a program of the host either: where core_pattern begins with
// | it takes 0 for no limit (fs/coredump.c).
func forbidCores() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("read the limit of core dumps: %w", err)
	}
	closed := limit.Max == 0
	limit.Cur, limit.Max = 1, max(1, limit.Max)
	err := unix.Setrlimit(unix.RLIMIT_CORE, &limit)
	if errors.Is(err, unix.EPERM) && closed {
		return errors.New("forbid core dumps: their hard limit is 0, as sudo sets it, and root may not raise it here, because it lacks " +
			"CAP_SYS_RESOURCE: start the server from a root shell without sudo, or put `Set disable_coredump false` into " +
			"/etc/sudo.conf and `Defaults rlimit_core=user` into the sudoers file")
	}
	if err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}

// ControlGroups is the version of the hierarchy in use, 1 or 2; the driver must be started.
func (d *Driver) ControlGroups() int { return d.tree.Version() }

// openSocketDir empties the directory of sockets and holds it open, so that a socket can be named through
// /proc/self/fd however long its real path is (unix(7) allows 107 bytes).
func openSocketDir(dir string) (*os.File, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty the socket directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the socket directory: %w", err)
	}
	return os.Open(dir)
}

// trial runs a program that does nothing in a jail like any other: what this host lacks shows now, not at a deploy.
func (d *Driver) trial(ctx context.Context) error {
	uid, release, err := d.uids.take()
	if err != nil {
		return err
	}
	defer release()
	program, err := filepath.EvalSymlinks("/bin/true")
	if err != nil {
		return fmt.Errorf("find a program for the trial of nsjail: %w", err)
	}
	j := jail{layout: d.layout, uid: uid, limits: sandbox.DefaultLimits, shown: []string{program}}
	config, err := newConfiguration(j.config())
	if err != nil {
		return err
	}
	defer config.close()
	cmd := exec.CommandContext(ctx, d.cfg.Nsjail, j.args(nil, program)...)
	cmd.ExtraFiles = []*os.File{3: config.read} // as descriptor 6
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := d.runInGroup(ctx, cmd, config, j.limits); err != nil {
		return fmt.Errorf("run a trial program in nsjail: %w\n%s%s", err, explainLog(out.String()), remedy(out.String()))
	}
	return nil
}

// runInGroup runs a command to its end in a control group like any other.
func (d *Driver) runInGroup(ctx context.Context, cmd *exec.Cmd, config *configuration, l sandbox.Limits) (err error) {
	group, err := d.tree.New("trial", d.groupLimits(l))
	if err != nil && len(d.cfg.IO) > 0 {
		return fmt.Errorf("%w: is the device a whole disk, and does this host's control group have the controller io (v1: blkio)?", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Remove(context.WithoutCancel(ctx))) }()
	if err := config.start(cmd, func() error { return group.Start(cmd) }); err != nil {
		return err
	}
	return cmd.Wait()
}

func (d *Driver) groupLimits(l sandbox.Limits) cgroup.Limits {
	return cgroup.Limits{MemoryBytes: l.MemoryBytes, CPU: l.CPU, Pids: l.Pids + overheadPids, IO: d.cfg.IO}
}

// remedy says what to do about what nsjail complains of most.
func remedy(log string) string {
	if strings.Contains(log, "CLONE_NEWUSER") && strings.Contains(log, "Operation not permitted") {
		return "\nthis host refuses new user namespaces: raise the sysctl user.max_user_namespaces above 0, " +
			"and do not run the server in a chroot or in a container that forbids them"
	}
	return ""
}

// Stop implements sandbox.Driver.
func (d *Driver) Stop(ctx context.Context) error {
	var errs []error
	d.leftovers.close() // what is left of them is the tree's to end
	d.closing.Wait()
	if d.sockets != nil {
		errs = append(errs, d.sockets.Close(), os.RemoveAll(filepath.Join(d.cfg.Dir, d.cfg.Sockets)))
		d.sockets = nil
	}
	if d.heard != nil {
		d.heard.close()
		d.heard = nil
	}
	if d.locks != nil {
		d.locks.close()
		d.queues.close()
		d.locks, d.queues = nil, nil
	}
	if d.tree != nil {
		errs = append(errs, d.tree.Clean(ctx), d.tree.Close())
		d.tree = nil
	}
	return errors.Join(errs...)
}

// Clean ends and removes what a dead driver of that instance left: control groups with everything in them, and its directory
// of sockets.
func Clean(ctx context.Context, instance, sockets string) error {
	tree, err := cgroup.Open(instance)
	if err != nil {
		return err
	}
	return errors.Join(tree.Clean(ctx), tree.Close(), os.RemoveAll(sockets))
}

// InstanceName makes a control group name from a data directory, so that servers with different ones leave each other's
// sandboxes alone.
func InstanceName(dataDir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(dataDir)))
	return "s" + hex.EncodeToString(sum[:6])
}
