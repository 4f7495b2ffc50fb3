package egress

import "sync"

// defaultBuffers are those of a gate that was told no other, in bytes.
const defaultBuffers = 256 << 20

// buffersPart is the part of what is left that one connection may have: who comes first leaves something to all others.
const buffersPart = 8

// buffers is what the connections of all sandboxes may have under way in this process. Its methods may be called concurrently.
type buffers struct {
	mu   sync.Mutex
	left int64 // bytes; less than 0 where there are more connections than have room for the least that each has
}

// take returns how many bytes a connection may have: from least to want, the less the less is left.
func (b *buffers) take(least, want int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := max(least, min(want, b.left/buffersPart))
	b.left -= n
	return n
}

func (b *buffers) giveBack(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}

// Buffers returns how many bytes a connection of the sandbox may have under way each way, from least to want: what those of all sandboxes have
// is bounded, see Config. GiveBack must be called with them.
func (g *Guard) Buffers(least, want int64) int64 { return g.gate.buffers.take(least, want) }

// GiveBack is for what Buffers returned, once the connection has ended.
func (g *Guard) GiveBack(n int64) { g.gate.buffers.giveBack(n) }
