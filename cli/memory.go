package cli

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap, of which the server has little, grow to five times what is in use before it is collected: at
// ten thousand requests a second the collector would run dozens of times a second otherwise. GOGC wins.
const gcPercent = 400

func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
