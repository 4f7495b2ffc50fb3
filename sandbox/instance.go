package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"apibuilder/egress"
)

// Instance is one sandbox with a program in it. Its methods may be called concurrently.
type Instance struct {
	id        string
	spec      Spec
	sandbox   Sandbox
	control   net.Conn // closed once the program serves
	transport Transport
	probePath string
	routes    []Route
	startTime time.Duration
	started   time.Time
	startup   Startup // before it serves: of the goroutine that starts it

	inflight atomic.Int64
	idleC    chan struct{} // receives when inflight falls to zero
	lastUsed atomic.Int64  // nanoseconds after clockStart
	suspect  atomic.Bool   // a probe after a timeout is under way
	lent     atomic.Bool   // some request had it
	cpu      cpuShare

	guard *egress.Guard // nil: it has no network
	tell  func(string)  // says something about its network to the author

	hearing chan struct{} // holds one while somebody reads what the runner says, which may be why it ends

	mu      sync.Mutex
	claimed bool // it has a program; spec, which was empty but for the limits, does not change any more
	begun   bool // its end is the program's: the runner has got it, or nobody else ever waited for it
	output  tail
	advised string // what it was told by advices
	ending  *Exit  // why we end it, when we do
	exit    *Exit
	done    chan struct{}
	report  sync.Once
}

// claim makes it the sandbox of a program, once; false when it has ended.
func (i *Instance) claim(spec Spec) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.exit != nil {
		return false
	}
	i.spec, i.claimed = spec, true
	if i.guard != nil {
		i.guard.Bind(spec.API, spec.Egress, spec.EgressTurn, i.tell)
	}
	return true
}

func (i *Instance) begin() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun = true
}

func (i *Instance) isBegun() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.begun
}

// Version is the version of the API that runs in it.
func (i *Instance) Version() int { return i.spec.Version }

// Routes lists the program's routes when the Spec asked for them: untrusted.
func (i *Instance) Routes() []Route { return i.routes }

// StartTime is how long it took from the request for a sandbox to the first answered probe.
func (i *Instance) StartTime() time.Duration { return i.startTime }

// Transport sends requests to the program over pooled connections; the host of the URL does not matter.
func (i *Instance) Transport() http.RoundTripper { return i.transport }

// Stats reads what the sandbox uses; after its end the error tells so.
func (i *Instance) Stats() (Stats, error) { return i.sandbox.Stats() }

// Done is closed when the sandbox has ended and Exit is known.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Exit says how it ended; nil while it runs.
func (i *Instance) Exit() *Exit {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.exit
}

// Output is the last of what the program printed: untrusted.
func (i *Instance) Output() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.output.String()
}

// Stop ends the instance: it asks the program to finish, and kills it when grace is over or ctx ends. It returns when
// everything is gone.
func (i *Instance) Stop(ctx context.Context, grace time.Duration) *Exit {
	i.endWith(&Exit{Reason: Draining})
	_ = i.sandbox.Terminate() // an error means that it has ended
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-i.done:
		return i.Exit()
	case <-timer.C:
	case <-ctx.Done():
	}
	return i.kill(nil)
}

// kill ends the instance at once and waits for its end. why replaces what the kernel would tell, unless a reason was
// given before.
func (i *Instance) kill(why *Exit) *Exit {
	i.endWith(why)
	_ = i.sandbox.Kill() // retried by the driver until the group is empty
	<-i.done
	return i.Exit()
}

func (i *Instance) endWith(why *Exit) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ending == nil {
		i.ending = why
	}
}

// Probe reports whether the program's server answers. The runner answers it, not the author's code.
func (i *Instance) Probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandbox"+i.probePath, nil)
	if err != nil {
		return err
	}
	resp, err := i.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("probe the program: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("probe the program: it answered with status %d", resp.StatusCode)
	}
	return nil
}

// Transport sends requests to one program over connections of its own.
type Transport interface {
	http.RoundTripper
	// CloseIdleConnections is called when the sandbox has ended.
	CloseIdleConnections()
}

// Dialer opens a connection to one program.
type Dialer func(ctx context.Context) (net.Conn, error)

// newTransport is what a manager without a transport of its user's choice has: for `sandbox test` and tests.
func newTransport(dial Dialer) Transport {
	return &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression:     true,
		IdleConnTimeout:        time.Minute, // below the runner's keep-alive, so that we are who closes
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// classify decides what ended a sandbox: the limits that the kernel enforced first, then why we ended it, then what the
// program did itself.
func classify(ending *Exit, s Status, limits Limits) *Exit {
	e := &Exit{Code: s.Code, Signal: s.Signal}
	switch {
	case s.OOMKilled:
		e.Reason = OutOfMemory
		e.Detail = fmt.Sprintf("the program needed more memory than its limit of %d MiB", limits.MemoryBytes>>20)
	case s.NetlinkFull:
		e.Reason = OutOfMemory
		e.Detail = "more waited in the program's netlink sockets than may: what is asked there must be read, or the socket closed"
	case s.LocksFull:
		e.Reason = OutOfMemory
		e.Detail = "the program held more locks of files than it may: each takes memory until it is given back or its file is closed"
	case s.QueuesFull:
		e.Reason = OutOfMemory
		e.Detail = "more TCP connections waited in the program to be accepted than may: each takes memory until it is"
	case ending != nil:
		e.Reason, e.Detail = ending.Reason, ending.Detail
	case s.Err != nil:
		e.Reason, e.Detail = SandboxFailed, s.Err.Error()
	case s.DiskFull:
		e.Reason = DiskFull
		e.Detail = fmt.Sprintf("the program ended after it had filled /tmp, which holds %d MiB", limits.TmpBytes>>20)
	case s.PidsRefused:
		e.Reason = TooManyProcesses
		e.Detail = fmt.Sprintf("the program ended after it had hit its limit of %d processes and threads", limits.Pids)
	case s.Signal == "SIGSYS":
		e.Reason, e.Detail = KilledBySeccomp, "the program was killed for a system call that is never allowed"
		if s.Syscall != "" {
			e.Detail = "the program was killed for the system call " + s.Syscall
		}
	case s.Signal != "":
		e.Reason, e.Detail = Crashed, "the program was killed by "+s.Signal
	default:
		e.Reason, e.Detail = Crashed, fmt.Sprintf("the program ended with exit code %d", s.Code)
	}
	return e
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}
