package cli

import (
	"os"
	"runtime/debug"
)

// The collector runs when the heap has grown by a part of what is in use, stacks included. For the little that a busy gateway
// holds that would be dozens of times a second, and for the much that thousands of open streams hold it would let as much garbage lie.
// So bytes that are never touched, which are address space and no memory, are counted to what is in use, and the part is a half:
// the heap grows by 32 MiB and half of what is held. Where the operator sets GOGC, it means what it always does.
const (
	ballastBytes   = 64 << 20
	collectPercent = 50
)

// tuneCollector returns what must be kept for as long as it is to work.
func tuneCollector() []byte {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	debug.SetGCPercent(collectPercent)
	return make([]byte, ballastBytes)
}
