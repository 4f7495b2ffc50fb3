package cli

// ballastBytes are never touched, so that they are address space and no memory. The collector counts them to what is in use
// and runs when the heap has grown by as much: not dozens of times a second for the little that a busy gateway holds, and
// no more rarely than usual where it holds a lot, as with many open WebSockets. GOGC goes on to mean what it means.
const ballastBytes = 32 << 20

// takeBallast returns what must be kept for as long as it is to work.
func takeBallast() []byte { return make([]byte, ballastBytes) }
