package netstack

// What a connection's goroutines need of stack, in bytes, most of it in the depth of gVisor's TCP: what they would end up with anyhow.
const (
	acceptStack  = 10 << 10 // 16 KiB, because stacks are powers of two
	sendingStack = 5 << 10  // 8 KiB
)

// growAcceptStack has the calling goroutine have its stack at once. It begins with 2 KiB otherwise, and is copied three times, deeper each
// time: for every frame the runtime looks up what of it points into the stack, in tables that nobody has read for a while. That is 10 us of
// what connecting takes.
//
//go:noinline
func growAcceptStack(never bool) {
	if never {
		var space [acceptStack]byte // which the frame has room for in any case
		touch(space[:])
	}
}

// growSendingStack is growAcceptStack for the other one.
//
//go:noinline
func growSendingStack(never bool) {
	if never {
		var space [sendingStack]byte
		touch(space[:])
	}
}

//go:noinline
func touch(space []byte) { space[0] = 0 }
