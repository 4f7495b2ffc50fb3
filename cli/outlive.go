package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"apibuilder/admin"
	"apibuilder/handover"
)

// processOf opens the process that listens at the other end of a connection; nil where the kernel cannot.
func processOf(conn *net.UnixConn) *os.File {
	cred, err := admin.Peer(conn)
	if err != nil || cred.Pid <= 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(int(cred.Pid), 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "the predecessor's process")
}

// outlived reports whether the predecessor has ended before this server had its place, which then goes on as one that starts: it waits
// for the end of one that has begun to stop. Otherwise err is why there is no taking over.
func (s *server) outlived(ctx context.Context, err error) bool {
	p := &s.predecessor
	if !errors.Is(err, handover.ErrEnded) || p.life == nil || !hasEnded(ctx, p.life, s.options.drainTimeout+stopTimeout) {
		return false
	}
	s.log.Warn("the server that was to be taken over has ended; this one goes on as it does where there is none", zap.Error(err))
	p.left = true
	if p.claim != nil {
		p.claim.Outlive()
	}
	return true
}

// hasEnded reports whether a process ends within a time.
func hasEnded(ctx context.Context, process *os.File, within time.Duration) bool {
	const look = 100 * time.Millisecond
	for deadline := time.Now().Add(within); ctx.Err() == nil; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(process.Fd()), Events: unix.POLLIN}}, int(look.Milliseconds()))
		if n > 0 && err == nil {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			return false
		}
	}
	return false
}

// regainLocal makes the management socket anew where the predecessor, stopping, took its file away. Nobody serves on it yet.
func (s *server) regainLocal() error {
	if _, err := os.Lstat(s.data.join(admin.SocketName)); err == nil || s.local == nil {
		return nil
	}
	old := s.local
	l, err := admin.ListenUnix(s.data.path)
	if err != nil {
		return err
	}
	s.local = l
	s.onStop("management socket", closer(l))
	for i := range s.bound {
		if s.bound[i].name == admin.SocketName {
			s.bound[i] = bound{l, admin.SocketName, ""}
		}
	}
	return old.Close()
}
