package netstack

import "time"

// SetProgramIdle has programs be looked after sooner. Call it before any network is started, in a test that is alone in its process.
func SetProgramIdle(d time.Duration) { programIdle = d }
