package sandbox

import "errors"

// ErrNoRoom says that a start waited in vain for room: every place for a sandbox is taken by one that is busy, or memory is
// short. The request may be tried again soon.
var ErrNoRoom = errors.New("no room for another sandbox")

// ErrStopped says that the manager is stopping or has stopped.
var ErrStopped = errors.New("the sandbox manager has stopped")

// ErrUnknownAPI says that there is no such API any more.
var ErrUnknownAPI = errors.New("no such API")
