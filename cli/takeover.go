package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"apibuilder/admin"
	"apibuilder/handover"
	"apibuilder/store/sqlite"
	"apibuilder/usage"
)

// lockSocket names the descriptor that carries the data directory's lock.
const lockSocket = "data-dir"

// predecessor is the server that this one takes over from. The zero value is none.
type predecessor struct {
	claim *handover.Claim
	offer handover.Offer
	left  bool     // it knows that this server serves, and ends; or has ended
	life  *os.File // its process (pidfd_open(2)); nil where that is not known
}

// take takes a socket out of what the predecessor handed on.
func (p *predecessor) take(name, address string) handover.Socket {
	i := slices.IndexFunc(p.offer.Sockets, func(s handover.Socket) bool { return s.Name == name && s.Address == address })
	if i < 0 {
		return handover.Socket{}
	}
	socket := p.offer.Sockets[i]
	p.offer.Sockets = slices.Delete(p.offer.Sockets, i, i+1)
	return socket
}

// drop closes what nobody took.
func (p *predecessor) drop() {
	p.offer.Close()
	p.offer.Sockets = nil
}

// openPredecessor asks the running server for its sockets. No server to ask is no error: then this is an ordinary start.
func (s *server) openPredecessor(ctx context.Context) error {
	if !s.options.takeOver {
		return nil
	}
	conn, err := dialHandover(s.data.path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		s.log.Info("there is no server to take over from")
		return nil
	}
	if err != nil {
		return fmt.Errorf("reach the running server: %w", err)
	}
	s.predecessor.life = processOf(conn)
	s.predecessor.claim, s.predecessor.offer, err = handover.Ask(ctx, conn)
	if err != nil && s.outlived(ctx, err) {
		_ = s.predecessor.life.Close()
		s.predecessor = predecessor{}
		return nil
	}
	if err != nil {
		return err
	}
	s.onStop("handing over", func(context.Context) error {
		s.predecessor.drop()
		_ = s.predecessor.life.Close() // of nil it is an error
		return s.predecessor.claim.Close()
	})
	s.seat = seat(s.predecessor.offer.Seat).other()
	s.log.Info("taking over", zap.Int("from_pid", s.predecessor.offer.PID))
	return nil
}

func dialHandover(dir string) (*net.UnixConn, error) {
	at, err := admin.OpenDirectory(dir)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: at.At(handoverSocket), Net: "unix"})
}

// lockData takes the data directory's lock, or a share of the predecessor's: its descriptor is of the same open file, so that
// the lock lasts until both are closed, and no third server ever gets it.
func (s *server) lockData() error {
	if socket := s.predecessor.take(lockSocket, ""); socket.File != nil {
		s.data.file = socket.File
		return nil
	}
	return s.data.lock()
}

// freezePredecessor has the predecessor change nothing from here on: everything that could fail has been tried.
func (s *server) freezePredecessor(ctx context.Context) error {
	if s.predecessor.claim == nil {
		return nil
	}
	if err := s.predecessor.claim.Freeze(ctx); err != nil {
		if !s.outlived(ctx, err) {
			return err
		}
		if err := s.regainLocal(); err != nil {
			return err
		}
	}
	s.refresh()
	s.background("start of what was told to run always meanwhile", s.wakeKept)
	return nil
}

// refresh has everything that was read of the store read again after the other server of a taking over wrote to it. Of a PostgreSQL
// it is told by that.
func (s *server) refresh() {
	if file, ok := s.database.(*sqlite.Store); ok {
		file.Refresh()
	}
}

// leavePredecessor tells the predecessor that consumers are served here.
func (s *server) leavePredecessor(ctx context.Context) error {
	if s.predecessor.claim == nil {
		return nil
	}
	if !s.predecessor.left {
		if err := s.predecessor.claim.Serving(ctx); err != nil && !s.outlived(ctx, err) {
			return err
		}
		s.predecessor.left = true
	}
	if err := s.local.Own(); err != nil { // nobody else serves by now: this is no reason to end
		s.log.Error("the management socket is out of reach until the server is started again", zap.Error(err))
	}
	return nil
}

// hasPredecessor reports whether this server has yet to take the place of another one, which serves until then.
func (s *server) hasPredecessor() bool { return s.predecessor.claim != nil && !s.predecessor.left }

// openLeft cares for what the other seat's server left or will leave: groups, sockets, and usage records that the store does
// not have. With a predecessor that happens when its process has ended.
func (s *server) openLeft(ctx context.Context) error {
	other := s.seat.other()
	if s.predecessor.claim == nil {
		if err := other.clean(ctx, s.data); err != nil {
			return err
		}
	}
	s.alone = make(chan struct{})
	s.background("care for what another server left", func(life context.Context) {
		if s.predecessor.claim != nil {
			select {
			case <-s.predecessor.claim.Ended():
			case <-life.Done():
				return
			}
			s.log.Info("the server that was taken over has ended", zap.Int("pid", s.predecessor.offer.PID))
			if err := other.clean(life, s.data); err != nil {
				s.log.Error("clean up after the server that was taken over", zap.Error(err))
			}
		}
		s.book.Own()
		s.left = s.deliverAllLeft(life, s.data.join(other.journal()), leftPause)
		close(s.alone)
	})
	return nil
}

// What keeps records of another server from being delivered may pass: descriptors or space that are used up, and a process that is just ending.
const (
	leftTries = 6
	leftPause = 30 * time.Second
)

// deliverAllLeft is deliverLeft, tried again for a while.
func (s *server) deliverAllLeft(ctx context.Context, dir string, between time.Duration) error {
	for try := 1; ; try++ {
		err := s.deliverLeft(ctx, dir)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s.log.Error("deliver usage records of another server", zap.Int("try", try), zap.Int("of", leftTries), zap.Error(err))
		if try == leftTries || pause(ctx, between) != nil {
			return fmt.Errorf("usage records of another server are in %s, they are delivered when the server is started again: %w", dir, err)
		}
	}
}

// deliverLeft gives the store what is in another seat's journal, and waits for the store as long as that takes.
func (s *server) deliverLeft(ctx context.Context, dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "usage-*.log"))
	if err != nil || len(left) == 0 {
		return err
	}
	journal, err := usage.Open(dir, s.store, usage.Options{Log: s.log.Named("usage")})
	if err != nil {
		return err
	}
	if err := journal.Start(ctx); err != nil {
		return err
	}
	err = journal.Flush(ctx)
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, journal.Stop(stopCtx))
}
