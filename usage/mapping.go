package usage

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

const (
	// reserveBytes of a file get their blocks at once, for more than a thousand records. fallocate(2) takes 10 us for it on
	// ext4 and 90 us on tmpfs, which clears the memory; for a whole segment it would be up to 10 ms on tmpfs.
	reserveBytes = 256 << 10
	// fillBytes of them are written as zeros at once, for some hundred records. A store into a page that is not in memory, with a block that
	// nothing was written to, takes ext4 7 us; after such a write, which takes it 10 to 20, a store costs what it copies.
	fillBytes = 64 << 10
	// overhang is mapped beyond SegmentBytes, for the record that passes it.
	overhang = 64 << 10
)

// mapping is a shared mapping of a segment's file, into which records are copied without a system call. A copied record is
// the kernel's, as a written one is: the end of the process, by SIGKILL too, does not touch it, and fsync(2) brings it to
// the disk. Its zero value maps nothing. The journal's mutex guards it; it must not be released while a copy can be under way.
//
// A store has no error to return, so blocks are reserved before it with fallocate(2), which says when a disk is full.
// Where a store finds none all the same (a file that somebody made shorter, a copy-on-write file system that is full, a
// disk that fails) the kernel sends SIGBUS, which put returns as an error.
type mapping struct {
	room     int64 // to be mapped at the first put; 0: nothing is
	memory   []byte
	reserved int64 // the file has its blocks up to here
	filled   int64 // and its pages in memory
}

// put copies a record to an offset of the file. After an error some of it may be there.
func (m *mapping) put(f *os.File, record []byte, at int64) error {
	if err := m.reserve(f, at+int64(len(record))); err != nil {
		return err
	}
	return copyIn(m.memory[at:], record)
}

// reserve makes sure that the file is mapped, and has blocks and pages, up to end.
func (m *mapping) reserve(f *os.File, end int64) error {
	if end <= m.filled {
		return nil
	}
	if end > m.room {
		return fmt.Errorf("a record ends at %d, behind the mapping of %d bytes", end, m.room)
	}
	if m.memory == nil {
		memory, err := unix.Mmap(int(f.Fd()), 0, int(m.room), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return os.NewSyscallError("mmap", err)
		}
		m.memory = memory
	}
	for m.reserved < end {
		step := min(reserveBytes, m.room-m.reserved)
		if err := allocate(f, m.reserved, step); err != nil {
			return err
		}
		m.reserved += step
	}
	for m.filled < end {
		n, err := f.WriteAt(zeros[:min(fillBytes, m.reserved-m.filled)], m.filled)
		if err != nil {
			return err
		}
		m.filled += int64(n)
	}
	return nil
}

var zeros [fillBytes]byte

// allocate makes the file longer, with blocks that read as zeros. A signal, such as those that Go's scheduler sends to its
// threads, may interrupt it.
func allocate(f *os.File, from, bytes int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, from, bytes)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fallocate", err)
		}
	}
}

// copyIn copies, and returns SIGBUS as an error.
func copyIn(to, from []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // see debug.SetPanicOnFault
			err = errFault
		default:
			panic(r)
		}
	}()
	copy(to, from)
	return nil
}

var errFault = errors.New("store into the mapping of a file: bus error")

// release unmaps for good; the file can go on to be written.
func (m *mapping) release() error {
	memory := m.memory
	*m = mapping{}
	if memory == nil {
		return nil
	}
	return os.NewSyscallError("munmap", unix.Munmap(memory))
}
