package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errLocked: somebody else holds the lock.
var errLocked = errors.New("locked by somebody else")

// tryLock takes an exclusive lock or returns errLocked. The kernel gives a lock up when its holder dies.
func tryLock(path string) (unlock func(), err error) { return flock(path, unix.LOCK_EX) }

// lockShared takes a lock that only an exclusive one excludes.
func lockShared(ctx context.Context, path string) (unlock func(), err error) {
	return waitLock(ctx, path, unix.LOCK_SH)
}

// lockExclusive waits for an exclusive lock until ctx ends.
func lockExclusive(ctx context.Context, path string) (unlock func(), err error) {
	return waitLock(ctx, path, unix.LOCK_EX)
}

// waitLock asks again and again, because a blocked flock(2) cannot be given up from outside.
func waitLock(ctx context.Context, path string, how int) (func(), error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		unlock, err := flock(path, how)
		if !errors.Is(err, errLocked) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another build: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func flock(path string, how int) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	switch {
	case err == nil:
		return func() { _ = f.Close() }, nil
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		err = errLocked
	default:
		err = fmt.Errorf("lock %s: %w", path, err)
	}
	_ = f.Close()
	return nil, err
}
