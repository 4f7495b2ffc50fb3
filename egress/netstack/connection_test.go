package netstack

import "testing"

func TestBuffersAreBounded(t *testing.T) {
	if bufferOf(1) != mostBuffer || bufferOf(2) != mostBuffer || bufferOf(10_000) != leastBuffer {
		t.Errorf("the first has %d bytes, the second %d, one of very many %d", bufferOf(1), bufferOf(2), bufferOf(10_000))
	}
	sum := int64(0)
	for open := range 10_000 {
		sum += bufferOf(open+1) - leastBuffer
	}
	if sum > 8*mostBuffer {
		t.Errorf("beside the least of each, connections have %d bytes each way", sum)
	}
}
