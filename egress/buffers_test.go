package egress

import "testing"

// TestBuffersOfAllSandboxes has more connections than there is room for: each has the least, all together have no more than there is beside
// that, and what comes later has as much when the others have ended.
func TestBuffersOfAllSandboxes(t *testing.T) {
	const all, least, want, count = 64 << 20, 16 << 10, 4 << 20, 10_000
	gate := NewGate(Config{Buffers: all})
	first, second := gate.Guard(), gate.Guard()
	defer first.Close()
	defer second.Close()
	if n := first.Buffers(least, want); n != want {
		t.Errorf("the first connection has %d bytes", n)
	}
	sum, taken := int64(0), []int64{want}
	for i := range count {
		n := []*Guard{first, second}[i%2].Buffers(least, want)
		if n < least || n > want {
			t.Fatalf("a connection has %d bytes", n)
		}
		sum, taken = sum+n-least, append(taken, n)
	}
	if sum+want > all {
		t.Errorf("beside the least of each, connections have %d bytes, and there are %d", sum+want, all)
	}
	for _, n := range taken {
		first.GiveBack(n)
	}
	if n := second.Buffers(least, want); n != want {
		t.Errorf("after all have ended, a connection has %d bytes", n)
	}
}
