package sandbox

import "errors"

// ErrNoRoom says that every place for a sandbox is taken by one that is busy. The request may be tried again soon.
var ErrNoRoom = errors.New("no room for another sandbox")

// ErrStopped says that the manager is stopping or has stopped.
var ErrStopped = errors.New("the sandbox manager has stopped")
