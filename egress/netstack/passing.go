package netstack

import (
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"apibuilder/egress"
)

// pass moves bytes both ways until both sides have said that nothing more comes and the program has taken all of it, or one breaks. It holds
// at most so many bytes each way.
func pass(endpoint tcpip.Endpoint, events *waiter.Queue, outside *egress.Conn, most int64) {
	p := &passing{endpoint: endpoint, outside: outside, over: make(chan struct{}, 1)}
	gone := waiter.NewFunctionEntry(waiter.EventHUp, p.hungUp)
	events.EventRegister(&gone)
	defer endpoint.Close()
	defer events.EventUnregister(&gone)
	p.hungUp(endpoint.Readiness(waiter.EventHUp)) // what came before
	aborted := make(chan struct{})
	stop := outside.OnEnd(func() {
		defer close(aborted)
		endpoint.Abort()
	})
	defer func() {
		if !stop() {
			<-aborted
		}
	}()
	defer p.watch()()
	var sending sync.WaitGroup
	sending.Go(func() {
		growSendingStack(false)
		if copyOut(outside, endpoint, events) != nil || outside.CloseWrite() != nil {
			outside.Abort()
		}
	})
	err := copyIn(endpoint, events, outside, most)
	p.said.Store(true)
	if err != nil || endpoint.Shutdown(tcpip.ShutdownWrite) != nil {
		outside.Abort()
	}
	sending.Wait()
	select {
	case <-p.over:
	case <-outside.Ended():
	}
}

// passing is what a connection's two ends know of each other while neither moves bytes: a program that is gone may be found out by nobody
// else, when the server says nothing, or takes nothing.
type passing struct {
	endpoint tcpip.Endpoint
	outside  *egress.Conn
	said     atomic.Bool   // to the program, that nothing more comes
	over     chan struct{} // has one when the program's end is gone, or has all
}

// hungUp is called with the endpoint's events, in the middle of its work: it asks nothing of it that waits.
func (p *passing) hungUp(mask waiter.EventMask) {
	if mask&waiter.EventHUp == 0 {
		return
	}
	select {
	case p.over <- struct{}{}:
	default:
	}
	switch tcp.EndpointState(p.endpoint.State()) {
	case tcp.StateError:
		p.outside.Abort()
	case tcp.StateClose: // where the program has ended first, a reset leaves this (RFC 793, CLOSE-WAIT)
		if !p.said.Load() {
			p.outside.Abort()
		}
	default: // TIME-WAIT
	}
}

// programIdle is how long nothing moves to a server until a program is asked whether it is still there; a variable for tests.
var programIdle = time.Minute

// mostStuck is how often that passes before a program is asked where the server leaves lie what it sent: one that has sent all and closed
// is gone, and what it sent is still to arrive. A system gives up such connections after some minutes (tcp_orphan_retries, tcp(7)).
const mostStuck = 5

// watch has the stack ask for a program whose server takes nothing, until stop. Its system forgets a connection that it closed
// (tcp_fin_timeout, tcp(7)), which nobody is told of while the server neither ends nor sends, and resets it when it is asked.
func (p *passing) watch() (stop func()) {
	idle, interval := tcpip.KeepaliveIdleOption(programIdle), tcpip.KeepaliveIntervalOption(programIdle/4)
	_, _ = p.endpoint.SetSockOpt(&idle), p.endpoint.SetSockOpt(&interval) // they cannot fail
	var before uint64
	var stuck int
	var mu sync.Mutex
	var again *time.Timer // nil when it is stopped
	mu.Lock()
	defer mu.Unlock()
	again = time.AfterFunc(programIdle, func() {
		mu.Lock()
		defer mu.Unlock()
		taken, left, err := p.outside.Taken()
		if again == nil || err != nil {
			return
		}
		if stuck++; taken != before {
			before, stuck = taken, 0
		}
		queued, _ := p.endpoint.GetSockOptInt(tcpip.ReceiveQueueSizeOption) // which may wait for the bandwidth
		p.endpoint.SocketOptions().SetKeepAlive(stuck > 0 && left+queued == 0 || stuck >= mostStuck)
		again.Reset(programIdle)
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		again.Stop()
		again = nil
	}
}
