package selftest

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// baitNames tell the hostile programs where to look.
type baitNames struct {
	PID           int      `json:"pid"`      // this process
	Abstract      string   `json:"abstract"` // of a listening Unix socket, without the leading zero
	Socket        string   `json:"socket"`   // path of a listening Unix socket
	Port          int      `json:"port"`     // TCP and UDP, on both loopback addresses where there are two
	File          string   `json:"file"`     // that everybody may read and write
	ShmKey        int      `json:"shm_key"`  // of a System V segment that everybody may attach
	Queue         string   `json:"queue"`    // of a POSIX message queue that everybody may open
	Addresses     []string `json:"addresses"`
	Listening     [][2]any `json:"listening"` // address and port of sockets on this host's addresses
	Host          string   `json:"host"`      // this host's name
	NameServers   []string `json:"name_servers"`
	OtherFile     string   `json:"other_file"`     // of the victim, in its /tmp
	OtherAbstract string   `json:"other_abstract"` // of the victim
	Traps         []string `json:"traps"`          // names that lead to where nobody may go
	LoopbackTraps []string `json:"loopback_traps"` // names that lead to loopback
}

// bait is what lies on the host for a program to find that should find nothing, and counts who came.
type bait struct {
	names   baitNames
	secret  string // the victim's
	dir     string
	shm     int
	queue   bool
	closers []interface{ Close() error }
	visits  map[string]*atomic.Int64
	wg      sync.WaitGroup
}

const baitText = "bait of the self-test\n"

func layBait() (_ *bait, err error) {
	name := "apibuilder-selftest-" + randomHex(6)
	b := &bait{secret: randomHex(16), shm: -1, visits: map[string]*atomic.Int64{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.takeAway())
		}
	}()
	host, _ := os.Hostname()
	b.names = baitNames{
		Host: host, PID: os.Getpid(), Abstract: name, Queue: name, Addresses: hostAddresses(), NameServers: nameServers(),
		OtherFile: "/tmp/" + name + "-other", OtherAbstract: name + "-other",
		Traps: append(trapNames(slices.Collect(maps.Keys(traps))...), turningTrap+trapDomain), LoopbackTraps: trapNames(slices.Collect(maps.Keys(loopbackTraps))...),
	}
	if err := b.layFile(); err != nil {
		return b, err
	}
	b.names.Socket = filepath.Join(b.dir, "socket")
	if err := b.listen("abstract", "unix", "@"+name); err != nil {
		return b, err
	}
	if err := b.listen("socket", "unix", b.names.Socket); err != nil {
		return b, err
	}
	if err := os.Chmod(b.names.Socket, 0o777); err != nil { //nolint:gosec // everybody is invited
		return b, err
	}
	if err := b.listenOnLoopback(); err != nil {
		return b, err
	}
	b.listenOnAddresses()
	return b, b.layIPC()
}

// layFile makes a file in a directory that both everybody may change.
func (b *bait) layFile() (err error) {
	if b.dir, err = os.MkdirTemp("", "apibuilder-selftest-"); err != nil {
		return err
	}
	b.names.File = filepath.Join(b.dir, "file")
	if err := os.WriteFile(b.names.File, []byte(baitText), 0o600); err != nil {
		return err
	}
	return errors.Join(os.Chmod(b.names.File, 0o666), os.Chmod(b.dir, 0o777)) //nolint:gosec // everybody is invited
}

func (b *bait) listenOnLoopback() error {
	if err := b.listen("loopback", "tcp4", "127.0.0.1:0"); err != nil {
		return err
	}
	b.names.Port = b.closers[len(b.closers)-1].(net.Listener).Addr().(*net.TCPAddr).Port
	if err := b.receive("udp4", fmt.Sprintf("127.0.0.1:%d", b.names.Port)); err != nil {
		return err
	}
	// A host may have no IPv6, and another program may hold the port there: then there is no bait on it.
	_ = b.listen("loopback", "tcp6", fmt.Sprintf("[::1]:%d", b.names.Port))
	_ = b.receive("udp6", fmt.Sprintf("[::1]:%d", b.names.Port))
	return nil
}

// listenOnAddresses lays bait on the addresses that it can.
func (b *bait) listenOnAddresses() {
	b.counter("address")
	b.names.Listening = [][2]any{}
	for _, address := range b.names.Addresses {
		if b.listen("address", "tcp", net.JoinHostPort(address, "0")) == nil {
			port := b.closers[len(b.closers)-1].(net.Listener).Addr().(*net.TCPAddr).Port
			b.names.Listening = append(b.names.Listening, [2]any{address, port})
		}
	}
}

// listen counts the connections to an address under a name.
func (b *bait) listen(name, network, address string) error {
	l, err := net.Listen(network, address) //nolint:noctx // it is closed in takeAway
	if err != nil {
		return err
	}
	count := b.counter(name)
	b.closers = append(b.closers, l)
	b.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			conn.Close()
		}
	})
	return nil
}

// receive counts the datagrams of ours that reach an address.
func (b *bait) receive(network, address string) error {
	c, err := net.ListenPacket(network, address) //nolint:noctx // it is closed in takeAway
	if err != nil {
		return err
	}
	count := b.counter("datagrams")
	b.closers = append(b.closers, c)
	b.wg.Go(func() {
		buf := make([]byte, 64)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if string(buf[:n]) == "selftest" {
				count.Add(1)
			}
		}
	})
	return nil
}

func (b *bait) counter(name string) *atomic.Int64 {
	if b.visits[name] == nil {
		b.visits[name] = &atomic.Int64{}
	}
	return b.visits[name]
}

// visited counts who came, after a moment for what is still on its way.
func (b *bait) visited(name string) int64 {
	time.Sleep(20 * time.Millisecond)
	return b.visits[name].Load()
}

// touched says what was done to the file and its directory; empty when nothing was.
func (b *bait) touched() string {
	text, err := os.ReadFile(b.names.File)
	if err != nil || string(text) != baitText {
		return fmt.Sprintf("the host's file %s was changed", b.names.File)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil || len(entries) != 2 {
		return fmt.Sprintf("the host's directory %s holds %v", b.dir, entries)
	}
	return ""
}

// layIPC makes a System V segment and a POSIX message queue in this IPC namespace.
func (b *bait) layIPC() (err error) {
	key := make([]byte, 4)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	b.names.ShmKey = int(binary.NativeEndian.Uint32(key)&0x7fffffff | 1)
	if b.shm, err = unix.SysvShmGet(b.names.ShmKey, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o666); err != nil {
		b.shm = -1
		return fmt.Errorf("make a shared memory segment: %w", err)
	}
	name, err := unix.BytePtrFromString(b.names.Queue)
	if err != nil {
		return err
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o666, 0, 0, 0)
	if errno == 0 { // a kernel without queues has none to find
		b.queue = true
		return unix.Close(int(fd))
	}
	return nil
}

// takeAway leaves nothing behind. It may be called for bait that was laid in part.
func (b *bait) takeAway() error {
	var errs []error
	for _, c := range b.closers {
		errs = append(errs, c.Close())
	}
	b.wg.Wait()
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	if b.shm >= 0 {
		_, err := unix.SysvShmCtl(b.shm, unix.IPC_RMID, nil)
		errs = append(errs, err)
	}
	if b.queue {
		name, err := unix.BytePtrFromString(b.names.Queue)
		if err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
			errs = append(errs, errno)
		}
	}
	return errors.Join(errs...)
}

// hostAddresses are those of this host's interfaces that are not loopback, a few of them.
func hostAddresses() []string {
	all, _ := net.InterfaceAddrs() // none is no reason to stop
	found := []string{}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() && len(found) < 4 {
			found = append(found, ip.IP.String())
		}
	}
	return found
}

// nameServers are those of /etc/resolv.conf (resolv.conf(5)).
func nameServers() []string {
	text, _ := os.ReadFile("/etc/resolv.conf") // none is no reason to stop
	found := []string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" && net.ParseIP(f[1]) != nil {
			found = append(found, f[1])
		}
	}
	return found
}
