package gateway

import "testing"

func TestCopyBufferFollowsWhatComes(t *testing.T) {
	var b copyBuffer
	defer b.free()
	for i, step := range []struct{ room, n int }{
		{smallBytes, 0},
		{smallBytes, 10},
		{smallBytes, smallBytes},
		{copyBytes, copyBytes},
		{copyBytes, smallBytes},
		{copyBytes, 5},
		{smallBytes, 5},
	} {
		if got := len(b.next(nil)); got != step.room {
			t.Fatalf("step %d: room for %d bytes, want %d", i, got, step.room)
		}
		b.filled(step.n)
	}
}
