package sandbox

import "time"

// Startup tells when the start of an instance reached each of its steps, in this order.
type Startup struct {
	Asked    time.Time // somebody needs it: it waits for a place, for memory and for its turn
	Begun    time.Time // it has them
	Standing time.Time // the sandbox stands, and its runner waits for the program
	Imported time.Time // the program is imported and its start-up handlers have run
	Answered time.Time // it has answered its probe, and its health path where it has one
	Warm     bool      // the sandbox stood before somebody needed it
}

// Startup tells of the instance's start. It may be called concurrently once the instance serves.
func (i *Instance) Startup() Startup { return i.startup }
