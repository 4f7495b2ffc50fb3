// Package handover moves listening sockets from a server to the process that takes its place, so that no connection is
// refused while a new binary takes over: both have the same sockets for a while, and the kernel's queue of each stays.
//
//	successor                                server
//	Ask        -- ask ------------------->   Offer: sockets and the lock of the data directory
//	           <----------- offer, descriptors
//	Freeze     -- prepared -------------->   Freeze: changes nothing from here on, and serves
//	           <------------------- yours
//	Serving    -- serving --------------->   Leave: takes no more connections, drains, exits
//	           <------------------ leaving
//	Ended      <---------- end of stream    (its process has ended)
//
// A stream that ends before "serving" is a successor that failed: the server thaws and goes on. They talk over a Unix
// socket that only root reaches; its listener and its peers' credentials are the caller's matter.
package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	protocol = 1
	mostFDs  = 64
	mostText = 64 << 10
)

// The words of the protocol.
const (
	wordAsk      = "ask"
	wordOffer    = "offer"
	wordPrepared = "prepared"
	wordYours    = "yours"
	wordServing  = "serving"
	wordLeaving  = "leaving"
)

// Socket is one descriptor that goes from one process to the other.
type Socket struct {
	Name    string `json:"name"`    // what it is for
	Address string `json:"address"` // as it was asked for, by which the successor knows whether it wants this one
	File    *os.File
}

// Offer is what a server hands on.
type Offer struct {
	Seat    int // of the two places that processes of one data directory take in turn, the one the server sits in: 0 or 1
	PID     int
	Sockets []Socket
}

// Close closes all descriptors of an offer.
func (o Offer) Close() {
	for _, s := range o.Sockets {
		_ = s.File.Close()
	}
}

// message is one step of the protocol, in one packet of JSON.
type message struct {
	Word     string   `json:"word"`
	Protocol int      `json:"protocol"`
	Seat     int      `json:"seat,omitempty"`
	PID      int      `json:"pid,omitempty"`
	Sockets  []Socket `json:"sockets,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// MarshalJSON leaves the descriptor out: it travels beside the text.
func (s Socket) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name    string `json:"name"`
		Address string `json:"address"`
	}{s.Name, s.Address})
}

// errOtherProtocol: one of the two is of another time.
var errOtherProtocol = errors.New("the other process speaks another protocol of handing over: stop the old server and start the new one")

// send writes one message with the descriptors of its sockets. The two sides take turns, so that messages never join.
func send(conn *net.UnixConn, m message) error {
	m.Protocol = protocol
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var fds []int
	for _, s := range m.Sockets {
		raw, err := s.File.SyscallConn()
		if err != nil {
			return err
		}
		// Not Fd, which would make the socket a blocking one, for everybody who has it.
		if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return err
		}
	}
	var beside []byte
	if len(fds) > 0 {
		beside = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(text, beside, nil)
	if err == nil && n < len(text) {
		err = fmt.Errorf("only %d of %d bytes were sent", n, len(text))
	}
	return err
}

// receive reads the message that has to come next.
func receive(conn *net.UnixConn, want string, timeout time.Duration) (message, error) {
	if timeout > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(timeout))
		defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	}
	text, beside := make([]byte, mostText), make([]byte, unix.CmsgSpace(4*mostFDs))
	n, nb, flags, _, err := conn.ReadMsgUnix(text, beside)
	if err != nil {
		return message{}, err
	}
	files, err := filesOf(beside[:nb])
	if err == nil && n == 0 {
		err = errors.New("the other process ended")
	}
	if err == nil && flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0 {
		err = errors.New("the message was cut")
	}
	var m message
	if err == nil {
		err = json.Unmarshal(text[:n], &m)
	}
	switch {
	case err != nil:
	case m.Error != "":
		err = errors.New(m.Error)
	case m.Protocol != protocol:
		err = errOtherProtocol
	case m.Word != want || len(files) != len(m.Sockets):
		err = fmt.Errorf("it said %q with %d descriptors, want %q with %d", m.Word, len(files), want, len(m.Sockets))
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		return message{}, err
	}
	for i := range files {
		m.Sockets[i].File = files[i]
	}
	return m, nil
}

// filesOf takes descriptors out of what came beside a message. They are not inherited by children: Go receives with
// MSG_CMSG_CLOEXEC.
func filesOf(beside []byte) ([]*os.File, error) {
	if len(beside) == 0 {
		return nil, nil
	}
	parts, err := unix.ParseSocketControlMessage(beside)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, part := range parts {
		fds, err := unix.ParseUnixRights(&part)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files, nil
}
