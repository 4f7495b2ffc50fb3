package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// servingTimeout is what a successor may take between Freeze and Serving.
const servingTimeout = 2 * time.Minute

// acceptPause is between attempts to accept a successor after one that failed.
const acceptPause = 100 * time.Millisecond

// Holder is a server that hands on. Its methods are called one after the other.
type Holder interface {
	// Offer returns what it hands on; Serve closes the descriptors. It may wait until it can, no longer than ctx.
	Offer(ctx context.Context) (Offer, error)
	// Freeze stops everything that changes something, and goes on serving. Its error ends the handing over.
	Freeze(ctx context.Context) error
	// Thaw undoes Freeze: the successor failed. It may last; whoever closes the Giver ends it before that.
	Thaw()
	// Leave says that the successor serves. It must not wait for the end of the server. Close has not closed the listener yet.
	Leave()
}

// Listener is one whose Accept ends by a deadline, like that of package net.
type Listener interface {
	net.Listener
	SetDeadline(time.Time) error
}

// Giver answers successors on a listener. Make one with Give.
type Giver struct {
	listener Listener
	holder   Holder
	life     context.Context
	end      context.CancelFunc
	done     chan struct{}
	last     *net.UnixConn // of the successor that serves: its end tells that this process has ended
}

// Give serves successors that connect to l until Close; one at a time.
func Give(l Listener, h Holder) *Giver {
	g := &Giver{listener: l, holder: h, done: make(chan struct{})}
	g.life, g.end = context.WithCancel(context.Background())
	go func() {
		defer close(g.done)
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) || g.life.Err() != nil {
				if err == nil {
					_ = conn.Close()
				}
				return
			}
			if err != nil { // no descriptor is left, perhaps
				g.pause()
				continue
			}
			if g.serve(conn.(*net.UnixConn)) {
				return
			}
		}
	}()
	return g
}

// pause waits a moment, or for Close.
func (g *Giver) pause() {
	timer := time.NewTimer(acceptPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.life.Done():
	}
}

// Close ends whoever is being served, and then the listener. The stream to a successor that serves stays open until the process
// ends. It may be called twice.
func (g *Giver) Close() error {
	g.end()
	_ = g.listener.SetDeadline(time.Unix(1, 0)) // fails when it is closed
	<-g.done
	if err := g.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// serve reports whether the successor has taken over.
func (g *Giver) serve(conn *net.UnixConn) bool {
	stop := context.AfterFunc(g.life, func() { _ = conn.Close() })
	if err := g.give(conn, stop); err != nil {
		_ = send(conn, message{Error: err.Error()}) // it may have gone
		stop()
		_ = conn.Close()
		return false
	}
	g.last = conn
	g.holder.Leave()
	return true
}

// give returns nil when the successor serves. From then on the stream is not Close's to end any more: keep sees to that.
func (g *Giver) give(conn *net.UnixConn, keep func() bool) error {
	if _, err := receive(conn, wordAsk, servingTimeout); err != nil {
		return err
	}
	offer, err := g.holder.Offer(g.life)
	if err != nil {
		return err
	}
	err = send(conn, message{Word: wordOffer, Seat: offer.Seat, PID: offer.PID, Sockets: offer.Sockets})
	offer.Close()
	if err != nil {
		return fmt.Errorf("send the sockets: %w", err)
	}
	if _, err := receive(conn, wordPrepared, 0); err != nil { // a start takes as long as it takes
		return err
	}
	if err := g.holder.Freeze(g.life); err != nil {
		g.holder.Thaw()
		return err
	}
	err = send(conn, message{Word: wordYours})
	if err == nil {
		_, err = receive(conn, wordServing, servingTimeout)
	}
	if err == nil && !keep() { // its end would tell the successor that this process has ended, while it still drains
		err = errors.New("the server is stopping")
	}
	if err == nil {
		err = send(conn, message{Word: wordLeaving})
	}
	if err != nil {
		g.holder.Thaw()
		return err
	}
	return nil
}
