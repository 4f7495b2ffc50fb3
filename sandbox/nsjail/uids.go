package nsjail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"apibuilder/sandbox"
)

// UIDRange is a range of the host's user and group ids, both ends included. No account of the host may lie in it.
type UIDRange struct{ First, Last uint32 }

// DefaultUIDs lies above the accounts of adduser and below the sub-ids of containers (useradd(8): SUB_UID_MIN 100000 to
// 600100000 in use from below).
var DefaultUIDs = UIDRange{First: 2_000_000_000, Last: 2_000_009_999}

// ParseUIDRange reads "200000-209999".
func ParseUIDRange(text string) (UIDRange, error) {
	first, last, ok := strings.Cut(text, "-")
	a, errA := strconv.ParseUint(first, 10, 32)
	b, errB := strconv.ParseUint(last, 10, 32)
	if !ok || errA != nil || errB != nil || a < 1000 || b < a || b == 1<<32-1 {
		return UIDRange{}, fmt.Errorf("user id range %q: give two numbers from 1000 up, like %q", text, "200000-209999")
	}
	return UIDRange{First: uint32(a), Last: uint32(b)}, nil
}

// String is the inverse of ParseUIDRange.
func (r UIDRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// uidLocks holds a lock file for every id in use, so that two servers on one host never give out the same one.
const uidLocks = "/run/apibuilder/uids"

// uidPool gives every live sandbox a user id of its own.
type uidPool struct {
	r    UIDRange
	mu   sync.Mutex
	next uint32
}

func openUIDPool(r UIDRange) (*uidPool, error) {
	if r.First < 1000 || r.Last < r.First {
		return nil, fmt.Errorf("user id range %v: give two numbers from 1000 up", r)
	}
	if err := os.MkdirAll(uidLocks, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of user id locks: %w", err)
	}
	return &uidPool{r: r, next: r.First}, nil
}

// take locks the next free id; release gives it back. The ids go round, so that one is not used again at once.
func (p *uidPool) take() (uid uint32, release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range uint64(p.r.Last) - uint64(p.r.First) + 1 {
		uid = p.next
		p.next++
		if p.next > p.r.Last {
			p.next = p.r.First
		}
		f, err := lockUID(uid)
		if err == nil {
			return uid, func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return 0, nil, fmt.Errorf("lock user id %d: %w", uid, err)
		}
	}
	return 0, nil, fmt.Errorf("every user id in %v is in use: %w", p.r, sandbox.ErrNoRoom)
}

func lockUID(uid uint32) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(uidLocks, strconv.FormatUint(uint64(uid), 10)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
