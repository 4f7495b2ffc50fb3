package gateway

import (
	"io"
	"sync"
)

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
	wide  bool // the last read would have filled a small one
	full  bool // it has filled a large one: more of it is there, as good as always
}

// awaiter returns when something can be read of it, or nothing more: at the latest the next Read says which.
type awaiter interface{ await() }

// next is what the next read may fill, of src. Until there is something to be read nothing large is held.
func (b *copyBuffer) next(src any) []byte {
	if b.wide {
		if a, ok := src.(awaiter); ok && !b.full {
			b.free()
			a.await()
		}
		if b.large == nil {
			b.large = copyBuffers.Get().(*[copyBytes]byte)
		}
		return b.large[:]
	}
	if b.small == nil {
		b.small = smallBuffers.Get().(*[smallBytes]byte)
	}
	return b.small[:]
}

// filled says how many bytes of next were read, which are not needed any more.
func (b *copyBuffer) filled(n int) {
	if wide := n >= smallBytes; wide != b.wide {
		b.free()
		b.wide = wide
	}
	b.full = n == copyBytes
}

// free gives back what is held.
func (b *copyBuffer) free() {
	if b.large != nil {
		copyBuffers.Put(b.large)
	}
	if b.small != nil {
		smallBuffers.Put(b.small)
	}
	b.small, b.large = nil, nil
}

// pieceBuffer is a large copyBuffer for a body that is sent in pieces, with room around each for its size and its line end. Make one with
// newPieceBuffer.
type pieceBuffer struct{ copyBuffer }

const (
	pieceRoom = 10
	pieceTail = 2
)

func newPieceBuffer() pieceBuffer { return pieceBuffer{copyBuffer{wide: true}} }

// lender reads into what it takes when there is something to read.
type lender interface {
	readInto(*pieceBuffer) (int, error)
}

// next is what the next read may fill, of src, as copyBuffer's.
func (b *pieceBuffer) next(src any) []byte {
	return b.copyBuffer.next(src)[pieceRoom : copyBytes-pieceTail]
}

// readFrom reads the next piece of a body.
func (b *pieceBuffer) readFrom(body io.Reader) (n int, err error) {
	if l, ok := body.(lender); ok {
		n, err = l.readInto(b)
	} else {
		n, err = body.Read(b.next(nil))
	}
	b.full = n == copyBytes-pieceRoom-pieceTail
	return n, err
}
