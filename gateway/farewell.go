package gateway

import (
	"io"
	"net"
	"sync"
	"time"
)

// Codes with which a WebSocket is closed (RFC 6455, 7.4.1; 1012 is registered with IANA).
const (
	closeGoingAway      = 1001
	closeInternalError  = 1011
	closeServiceRestart = 1012
)

const farewellTime = time.Second // for the last frame to a consumer that does not read

// farewell is the consumer's side of a WebSocket. It follows the program's frames, so that the gateway can end the WebSocket
// between two of them with a close frame that says why. Its methods may be called concurrently.
type farewell struct {
	conn net.Conn

	mu     sync.Mutex
	begun  bool // the head of the answer was sent
	frames frames
	said   bool
}

// begin has send send the head of the answer, before which there is no place for a frame.
func (f *farewell) begin(send func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := send()
	f.begun = err == nil
	return err
}

// Write passes on what the program sends; nothing after the gateway's own close frame.
func (f *farewell) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.said {
		return 0, net.ErrClosed
	}
	n, err := f.conn.Write(p)
	f.frames.pass(p[:n])
	return n, err
}

// say sends a close frame, unless one was sent, or there is no place for it: the answer has not begun, or a frame of the program's is not whole.
func (f *farewell) say(code uint16, reason string) {
	_ = f.conn.SetWriteDeadline(time.Now().Add(farewellTime)) // for a Write under way too
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.begun || f.said || f.frames.closed || !f.frames.between() {
		return
	}
	reason = reason[:min(len(reason), 123)] // a control frame has at most 125 bytes
	frame := append([]byte{0x88, byte(2 + len(reason)), byte(code >> 8), byte(code)}, reason...)
	_, err := f.conn.Write(frame)
	f.said = err == nil
}

// closed reports whether a close frame was sent, the program's or the gateway's.
func (f *farewell) closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said || f.frames.closed && f.frames.between()
}

// settle waits a moment for the consumer's end after a close frame, because closing while it still sends would reset the
// connection, and the frame with it.
func (f *farewell) settle(consumer io.Reader) {
	if half, ok := f.conn.(interface{ CloseWrite() error }); ok && f.closed() {
		_ = half.CloseWrite()
		_ = f.conn.SetReadDeadline(time.Now().Add(linger))
		_, _ = io.Copy(io.Discard, consumer)
	}
}

// frames follows one direction of a WebSocket (RFC 6455, 5.2). The zero value is at its beginning.
type frames struct {
	head   [10]byte
	have   int    // bytes of head
	left   uint64 // bytes of the payload, and of its mask, to come
	closed bool   // a close frame has begun
}

// between reports whether no frame is under way.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }

// pass takes note of bytes.
func (f *frames) pass(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		f.head[f.have] = p[0]
		f.have++
		p = p[1:]
		if f.have >= 2 && f.have == f.headBytes() {
			f.begin()
		}
	}
}

// headBytes is how long the header is, without a mask.
func (f *frames) headBytes() int {
	switch f.head[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// begin reads a whole header.
func (f *frames) begin() {
	f.left = uint64(f.head[1] & 0x7f)
	if f.have > 2 {
		f.left = 0
		for _, b := range f.head[2:f.have] {
			f.left = f.left<<8 | uint64(b)
		}
	}
	if f.head[1]&0x80 != 0 {
		f.left = min(f.left, 1<<63) + 4 // the protocol knows no longer payload
	}
	f.closed = f.closed || f.head[0]&0x0f == 8
	f.have = 0
}

// farewell is the code with which WebSockets end that the gateway cuts.
func (t *traffic) farewell() uint16 {
	if t.wasHandedOn() {
		return closeServiceRestart
	}
	return closeGoingAway
}
