package nsjail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/sandbox"
)

// refusals hears from the kernel which system calls the seccomp filter refused, and tells the sandbox that made them by
// its user id. The kernel writes one record for each to its log, at a bounded rate (SECCOMP_FILTER_FLAG_LOG, seccomp(2));
// where auditd runs, they would go there instead, as fast as they come, so that a jail asks for none (audited), and nothing is heard here.
type refusals struct {
	kmsg *os.File // nil where the log cannot be read
	done chan struct{}

	mu    sync.Mutex
	heard map[uint32]*hearing
}

// hearing is what one sandbox was refused.
type hearing struct {
	tell  func(refusal)
	known map[string]bool
	last  string
	news  chan struct{} // closed at the first refusal that killed
}

// refusal is one system call that was refused to one user.
type refusal struct {
	uid    uint32
	name   string
	killed bool
}

// line is what the log of the program says of it.
func (r refusal) line() sandbox.Line {
	text := "the system call " + r.name + " is refused here"
	if r.killed {
		text = "a process was killed for the system call " + r.name
	}
	return sandbox.Line{Time: time.Now().UTC(), Stream: "sandbox", Level: sandbox.LevelWarning, Event: "system_call", Text: text}
}

// maxKnown bounds how many different calls of one sandbox are told.
const maxKnown = 32

func openRefusals() *refusals {
	r := &refusals{done: make(chan struct{}), heard: map[uint32]*hearing{}}
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err == nil {
		_, err = kmsg.Seek(0, io.SeekEnd)
	}
	if err != nil { // a container without the log: the walls stand all the same
		close(r.done)
		return r
	}
	r.kmsg = kmsg
	go r.listen()
	return r
}

func (r *refusals) close() {
	if r.kmsg != nil {
		_ = r.kmsg.Close()
	}
	<-r.done
}

// listen reads record by record, as /dev/kmsg gives them out.
func (r *refusals) listen() {
	defer close(r.done)
	record := make([]byte, 8<<10)
	for {
		n, err := r.kmsg.Read(record)
		switch {
		case err == nil:
			if refused, ok := parseRefusal(record[:n]); ok {
				r.hear(refused)
			}
		case errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.EINVAL): // overwritten before we came, or too long
		default:
			return
		}
	}
}

func (r *refusals) hear(refused refusal) {
	r.mu.Lock()
	h := r.heard[refused.uid]
	isNew := false
	if h != nil {
		isNew = !h.known[refused.name] && len(h.known) < maxKnown
		if isNew {
			h.known[refused.name] = true
		}
		if refused.killed && h.last == "" {
			h.last = refused.name
			close(h.news)
		}
	}
	r.mu.Unlock()
	if isNew {
		h.tell(refused)
	}
}

// watch has tell called once for each different call that uid is refused, until forget.
func (r *refusals) watch(uid uint32, tell func(refusal)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[uid] = &hearing{tell: tell, known: map[string]bool{}, news: make(chan struct{})}
}

func (r *refusals) forget(uid uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.heard, uid)
}

// killer is the call for which the kernel killed a process of uid. Its record may be read a moment after the death.
func (r *refusals) killer(uid uint32) string {
	r.mu.Lock()
	h := r.heard[uid]
	r.mu.Unlock()
	if h == nil || r.kmsg == nil {
		return ""
	}
	select {
	case <-h.news:
	case <-time.After(200 * time.Millisecond):
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return h.last
}

// parseRefusal reads a record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg) that holds an audit record of type SECCOMP:
// "4,12,34,-;audit: type=1326 ... uid=5 ... comm="x" ... sig=31 arch=c000003e syscall=9 ...".
// comm and exe are the program's own words, so only fields before and after them with fixed names count, and those that
// hold text are skipped by their quotes.
func parseRefusal(record []byte) (refusal, bool) {
	_, text, _ := bytes.Cut(record, []byte(";"))
	fields, ok := bytes.CutPrefix(text, []byte("audit: type=1326 "))
	if !ok {
		return refusal{}, false
	}
	values := map[string]string{}
	for _, field := range bytes.Fields(withoutQuoted(fields)) {
		if key, value, ok := bytes.Cut(field, []byte("=")); ok {
			if _, twice := values[string(key)]; !twice {
				values[string(key)] = string(value)
			}
		}
	}
	uid, err := strconv.ParseUint(values["uid"], 10, 32)
	number, err2 := strconv.Atoi(values["syscall"])
	arch, err3 := strconv.ParseUint(values["arch"], 16, 32)
	if err != nil || err2 != nil || err3 != nil {
		return refusal{}, false
	}
	return refusal{uid: uint32(uid), name: syscallName(uint32(arch), number), killed: values["sig"] != "0"}, true
}

// withoutQuoted drops everything between double quotes. The kernel writes text with a quote in it as hex digits instead.
func withoutQuoted(b []byte) []byte {
	var out []byte
	quoted := false
	for _, c := range b {
		if c == '"' {
			quoted = !quoted
		} else if !quoted {
			out = append(out, c)
		}
	}
	return out
}

// x32Bit marks the numbers of x86-64's x32 table (asm/unistd.h).
const x32Bit = 0x40000000

func syscallName(arch uint32, number int) string {
	switch {
	case arch != nativeArch:
		return fmt.Sprintf("%d of another architecture's table", number)
	case number >= x32Bit:
		return fmt.Sprintf("%d of the x32 table", number-x32Bit)
	}
	if name, ok := syscallNames[number]; ok {
		return name
	}
	return "number " + strconv.Itoa(number)
}

// syscallNames are the calls that a program is most likely to be refused; others are told by their number.
var syscallNames = map[int]string{
	unix.SYS_MOUNT: "mount", unix.SYS_UMOUNT2: "umount2", unix.SYS_PIVOT_ROOT: "pivot_root", unix.SYS_CHROOT: "chroot",
	unix.SYS_OPEN_TREE: "open_tree", unix.SYS_MOVE_MOUNT: "move_mount", unix.SYS_FSOPEN: "fsopen",
	unix.SYS_FSCONFIG: "fsconfig", unix.SYS_FSMOUNT: "fsmount", unix.SYS_FSPICK: "fspick",
	unix.SYS_MOUNT_SETATTR: "mount_setattr", unix.SYS_NAME_TO_HANDLE_AT: "name_to_handle_at",
	unix.SYS_OPEN_BY_HANDLE_AT: "open_by_handle_at", unix.SYS_SWAPON: "swapon", unix.SYS_SWAPOFF: "swapoff",
	unix.SYS_QUOTACTL: "quotactl", unix.SYS_UNSHARE: "unshare", unix.SYS_SETNS: "setns", unix.SYS_CLONE: "clone",
	unix.SYS_CLONE3: "clone3", unix.SYS_PTRACE: "ptrace", unix.SYS_PROCESS_VM_READV: "process_vm_readv",
	unix.SYS_PROCESS_VM_WRITEV: "process_vm_writev", unix.SYS_PROCESS_MADVISE: "process_madvise",
	unix.SYS_PIDFD_GETFD: "pidfd_getfd", unix.SYS_KCMP: "kcmp", unix.SYS_MOVE_PAGES: "move_pages",
	unix.SYS_MIGRATE_PAGES: "migrate_pages", unix.SYS_BPF: "bpf", unix.SYS_PERF_EVENT_OPEN: "perf_event_open",
	unix.SYS_USERFAULTFD: "userfaultfd", unix.SYS_IO_URING_SETUP: "io_uring_setup",
	unix.SYS_IO_URING_ENTER: "io_uring_enter", unix.SYS_IO_URING_REGISTER: "io_uring_register",
	unix.SYS_KEYCTL: "keyctl", unix.SYS_ADD_KEY: "add_key", unix.SYS_REQUEST_KEY: "request_key",
	unix.SYS_FANOTIFY_INIT: "fanotify_init", unix.SYS_FANOTIFY_MARK: "fanotify_mark", unix.SYS_VMSPLICE: "vmsplice",
	unix.SYS_SOCKET: "socket", unix.SYS_SOCKETPAIR: "socketpair", unix.SYS_MMAP: "mmap", unix.SYS_MEMFD_CREATE: "memfd_create",
	unix.SYS_SHMGET: "shmget", unix.SYS_SETSOCKOPT: "setsockopt", unix.SYS_IOCTL: "ioctl", unix.SYS_PERSONALITY: "personality", unix.SYS_REBOOT: "reboot",
	unix.SYS_KEXEC_LOAD: "kexec_load", unix.SYS_INIT_MODULE: "init_module", unix.SYS_FINIT_MODULE: "finit_module",
	unix.SYS_DELETE_MODULE: "delete_module", unix.SYS_SYSLOG: "syslog", unix.SYS_ACCT: "acct",
	unix.SYS_SETTIMEOFDAY: "settimeofday", unix.SYS_CLOCK_SETTIME: "clock_settime",
	unix.SYS_CLOCK_ADJTIME: "clock_adjtime", unix.SYS_ADJTIMEX: "adjtimex", unix.SYS_SETHOSTNAME: "sethostname",
	unix.SYS_SETDOMAINNAME: "setdomainname", unix.SYS_VHANGUP: "vhangup", unix.SYS_SECCOMP: "seccomp",
	unix.SYS_FCNTL: "fcntl", unix.SYS_SYNC: "sync", unix.SYS_SYNCFS: "syncfs", unix.SYS_MEMFD_SECRET: "memfd_secret", unix.SYS_REMAP_FILE_PAGES: "remap_file_pages",
}
