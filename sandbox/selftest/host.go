package selftest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// process is one process as the host's /proc shows it.
type process struct {
	pid    int
	status map[string]string // the fields of /proc/PID/status (proc_pid_status(5))
}

// readProcess tells a process that is gone by its error.
func readProcess(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return process{}, err
	}
	p := process{pid: pid, status: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			p.status[key] = strings.TrimSpace(value)
		}
	}
	return p, nil
}

// uid is the real user id.
func (p process) uid() string { first, _, _ := strings.Cut(p.status["Uid"], "\t"); return first }

func (p process) alive() bool { return !strings.HasPrefix(p.status["State"], "Z") }

// namespace names the namespace of a kind that the process is in; empty where the kernel has none of that kind.
func (p process) namespace(kind string) string {
	link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.pid, kind))
	return link
}

func (p process) read(name string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, name))
	return string(text), err
}

// processes lists those that keep holds of.
func processes(keep func(process) bool) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil && keep(p) {
			found = append(found, p)
		}
	}
	return found, nil
}

// process finds the program of a scene by its mark.
func (s *scene) process() (process, error) {
	found, err := processes(func(p process) bool { return p.status["Name"] == s.mark && p.alive() })
	if err != nil {
		return process{}, fmt.Errorf("list the host's processes: %w", err)
	}
	if len(found) == 0 {
		return process{}, errors.New("the host sees no process of the program")
	}
	return found[0], nil
}

// all finds every process of the user that the program runs as.
func (s *scene) all() ([]process, error) {
	p, err := s.process()
	if err != nil {
		return nil, err
	}
	return processes(func(other process) bool { return other.uid() == p.uid() && other.alive() })
}

// left waits for the processes of a user to be gone and lists those that stay.
func left(uid string, patience time.Duration) ([]process, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		found, err := processes(func(p process) bool { return p.uid() == uid && p.alive() })
		if err != nil || len(found) == 0 || time.Now().After(deadline) {
			return found, err
		}
	}
}

// accountName is the host's account with a user id; empty when there is none.
func accountName(uid string) string {
	text, _ := os.ReadFile("/etc/passwd") // none is none
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == uid {
			return f[0]
		}
	}
	return ""
}

// residentMemory of this process in bytes.
func residentMemory() int64 {
	p, err := readProcess(os.Getpid())
	if err != nil {
		return 0
	}
	kib, _ := strconv.ParseInt(strings.TrimSuffix(p.status["VmRSS"], " kB"), 10, 64)
	return kib << 10
}

// openDescriptors of this process.
func openDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
