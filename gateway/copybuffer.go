package gateway

import "sync"

const (
	copyBytes  = 32 << 10
	smallBytes = 512
)

var (
	copyBuffers  = sync.Pool{New: func() any { return new([copyBytes]byte) }}
	smallBuffers = sync.Pool{New: func() any { return new([smallBytes]byte) }}
)

// copyBuffer is what a copy reads into. It is small until a read has filled it, and again when one has not: most of the
// streams that are open wait, and what waits should hold little. The zero value is small. Not for concurrent use.
type copyBuffer struct {
	small *[smallBytes]byte
	large *[copyBytes]byte
}

// next is what the next read may fill.
func (b *copyBuffer) next() []byte {
	switch {
	case b.large != nil:
		return b.large[:]
	case b.small == nil:
		b.small = smallBuffers.Get().(*[smallBytes]byte)
	}
	return b.small[:]
}

// filled says how many bytes of next were read, which are not needed any more.
func (b *copyBuffer) filled(n int) {
	switch {
	case n >= smallBytes && b.large == nil:
		b.large = copyBuffers.Get().(*[copyBytes]byte)
	case n < smallBytes && b.large != nil:
		copyBuffers.Put(b.large)
		b.large = nil
	}
}

// free gives everything back.
func (b *copyBuffer) free() {
	if b.large != nil {
		copyBuffers.Put(b.large)
	}
	if b.small != nil {
		smallBuffers.Put(b.small)
	}
	*b = copyBuffer{}
}
