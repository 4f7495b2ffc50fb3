package netstack

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// heldDevice is a device that writes a packet when it may.
type heldDevice struct {
	rawDevice
	may chan struct{} // closed: always
	fd  int
}

func (d *heldDevice) Write(f func(fd uintptr) bool) error {
	<-d.may
	f(uintptr(d.fd))
	return nil
}

func (*heldDevice) Close() error { return nil }

func packetOf(size int) *stack.PacketBuffer {
	return stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(make([]byte, size))})
}

// TestNoPacketOvertakes has a long packet wait for the device, and others come meanwhile.
func TestNoPacketOvertakes(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	written := func() (sizes []int) {
		b := make([]byte, mostPacket+virtioHeader)
		for {
			n, err := unix.Read(fds[1], b)
			if err != nil {
				return sizes
			}
			sizes = append(sizes, n-virtioHeader)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		d := &heldDevice{may: make(chan struct{}), fd: fds[0]}
		l := makeLink(d, d, 1500)
		l.work.Go(l.writeQueued)
		send := func(size int) {
			p := packetOf(size)
			defer p.DecRef()
			if err := l.send(p); err != nil {
				t.Errorf("a packet of %d bytes: %v", size, err)
			}
		}
		sizes := []int{leastQueued, 40, leastQueued + 1, 41}
		for _, size := range sizes {
			send(size) // returns, although the device takes nothing
		}
		synctest.Wait()
		if now := written(); len(now) > 0 {
			t.Fatalf("written: %v", now)
		}
		close(d.may)
		synctest.Wait()
		if now := written(); !slices.Equal(now, sizes) {
			t.Errorf("written: %v, in place of %v", now, sizes)
		}
		send(42) // nothing waits: it is written before this returns
		if now := written(); !slices.Equal(now, []int{42}) {
			t.Errorf("written: %v, in place of one of 42", now)
		}
		l.Close()
		l.Wait()
	})
}

// crossing is a device whose program answers what is written before that is over.
type crossing struct {
	fd, program      int
	answered, taken  chan struct{}
	closed           chan struct{}
	done             atomic.Bool // Write
	deliveredTooSoon atomic.Bool
	delivered        chan struct{}
	stack.NetworkDispatcher
}

func (d *crossing) Write(func(fd uintptr) bool) error {
	answer := make([]byte, virtioHeader+header.IPv4MinimumSize)
	answer[virtioHeader] = header.IPv4Version << 4
	if _, err := unix.Write(d.program, answer); err != nil {
		return err
	}
	close(d.answered)
	<-d.taken
	time.Sleep(20 * time.Millisecond) // for a reader that does not wait
	d.done.Store(true)
	return nil
}

func (d *crossing) Read(f func(fd uintptr) bool) error {
	select {
	case <-d.answered:
	case <-d.closed:
	}
	if !f(uintptr(d.fd)) {
		<-d.closed
		return io.EOF
	}
	close(d.taken)
	return nil
}

func (d *crossing) Close() error { close(d.closed); return nil }

func (d *crossing) DeliverNetworkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {
	d.deliveredTooSoon.Store(!d.done.Load())
	close(d.delivered)
}

// TestWhatAnswersAConnectionWaitsUntilItIsTaken has the program's answer come while what takes its connection is written: the stack has the
// connection locked until send returns, and its processor would spin until then.
func TestWhatAnswersAConnectionWaitsUntilItIsTaken(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	d := &crossing{
		fd: fds[0], program: fds[1],
		answered: make(chan struct{}), taken: make(chan struct{}), closed: make(chan struct{}), delivered: make(chan struct{}),
	}
	l := makeLink(d, d, 1500)
	l.Attach(d)
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: header.TCPMinimumSize})
	defer p.DecRef()
	p.TransportProtocolNumber = header.TCPProtocolNumber
	header.TCP(p.TransportHeader().Push(header.TCPMinimumSize)).Encode(&header.TCPFields{
		DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn | header.TCPFlagAck,
	})
	if err := l.send(p); err != nil {
		t.Fatal(err)
	}
	<-d.delivered
	if d.deliveredTooSoon.Load() {
		t.Error("the stack had the answer before it had written what it is an answer to")
	}
	l.Close()
	l.Wait()
}

// TestClosingALinkEndsWhoWaits fills the queue.
func TestClosingALinkEndsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &heldDevice{may: make(chan struct{}), fd: -1}
		l := makeLink(d, d, 1500)
		l.work.Go(l.writeQueued)
		for range 1 + mostQueued {
			if err := l.send(packetOf(leastQueued)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		refused := make(chan error)
		go func() { refused <- l.send(packetOf(leastQueued)) }()
		synctest.Wait()
		select {
		case err := <-refused:
			t.Fatalf("the queue takes more than it may: %v", err)
		default:
		}
		l.Close()
		if err := <-refused; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("who waited was told %v", err)
		}
		close(d.may)
		l.Wait()
	})
}
