package sandbox

import (
	"errors"
	"testing"
)

func TestClassify(t *testing.T) {
	draining := &Exit{Reason: Draining}
	for name, c := range map[string]struct {
		ending *Exit
		status Status
		want   Reason
	}{
		"out of memory":                     {nil, Status{OOMKilled: true, Signal: "SIGKILL"}, OutOfMemory},
		"out of memory while draining":      {draining, Status{OOMKilled: true}, OutOfMemory},
		"locks":                             {nil, Status{LocksFull: true, Signal: "SIGKILL"}, OutOfMemory},
		"queues":                            {nil, Status{QueuesFull: true, Signal: "SIGKILL"}, OutOfMemory},
		"netlink":                           {nil, Status{NetlinkFull: true, Signal: "SIGKILL"}, OutOfMemory},
		"asked to end":                      {draining, Status{Signal: "SIGTERM", Code: 143}, Draining},
		"asked to end, then killed":         {draining, Status{Signal: "SIGKILL"}, Draining},
		"the sandbox itself":                {nil, Status{Err: errors.New("no user namespaces")}, SandboxFailed},
		"disk":                              {nil, Status{DiskFull: true, PidsRefused: true, Code: 1}, DiskFull},
		"processes":                         {nil, Status{PidsRefused: true, Code: 1}, TooManyProcesses},
		"killed for another syscall table":  {nil, Status{Signal: "SIGSYS"}, KilledBySeccomp},
		"signal":                            {nil, Status{Signal: "SIGSEGV"}, Crashed},
		"exit":                              {nil, Status{Code: 1}, Crashed},
		"ended by itself without a failure": {nil, Status{}, Crashed},
	} {
		t.Run(name, func(t *testing.T) {
			e := classify(c.ending, c.status, DefaultLimits)
			if e.Reason != c.want {
				t.Errorf("%s, want %s", e.Reason, c.want)
			}
		})
	}
}

func TestLimitsOr(t *testing.T) {
	l := Limits{MemoryBytes: 32 << 20}.Or(DefaultLimits)
	if l.CPU != 1 || l.Pids != 64 || l.TmpBytes != 32<<20 {
		t.Errorf("%+v", l)
	}
}
