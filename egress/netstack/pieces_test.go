package netstack

import (
	"math/rand/v2"
	"testing"
)

// TestPiecesAreBounded writes pieces of many sizes into a buffer of which some is taken now and then.
func TestPiecesAreBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const most = 1 << 20
	p, held, bytes := pieces{most: most}, []int64{}, int64(0)
	for range 200_000 {
		size := 1 + random.Int64N([]int64{1, 100, 300_000}[random.IntN(3)])
		if free := p.room() - bytes; free > 0 {
			size = min(size, free)
			p.wrote(size)
			held, bytes = append(held, size), bytes+size
		}
		if len(held) > mostPieces+1 || bytes > most {
			t.Fatalf("%d pieces of %d bytes are held", len(held), bytes)
		}
		if len(held) > 0 && (bytes >= p.room() || random.IntN(50) == 0) {
			gone := 1 + random.IntN(len(held))
			for _, size := range held[:gone] {
				bytes -= size
			}
			held = held[gone:]
		}
	}
	p = pieces{most: most}
	for range mostPieces {
		p.wrote(1)
	}
	if p.room() != mostPieces {
		t.Errorf("after %d bytes, each alone, there is room for %d", mostPieces, p.room())
	}
	writes := 0
	for ; p.room() < most; writes++ {
		p.wrote(p.room())
	}
	if writes > 20 {
		t.Errorf("it takes %d writes of all that there is room for until there is room for the most", writes)
	}
}
