package netstack

import (
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
)

// TestStacksAreGrown looks whether the compiler leaves the functions what they are for.
func TestStacksAreGrown(t *testing.T) {
	const count = 500
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector makes stacks smaller again
	for name, c := range map[string]struct {
		grow func(never bool)
		want uint64
	}{
		"accept":  {growAcceptStack, 16 << 10},
		"sending": {growSendingStack, 8 << 10},
	} {
		runtime.GC() // which frees the stacks of goroutines that have ended
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		var grown, done sync.WaitGroup
		end := make(chan struct{})
		grown.Add(count)
		for range count {
			done.Go(func() {
				c.grow(false)
				grown.Done()
				<-end
			})
		}
		grown.Wait()
		runtime.ReadMemStats(&now)
		if each := (now.StackInuse - before.StackInuse) / count; each < c.want*9/10 {
			t.Errorf("%s: a goroutine has %d bytes of stack", name, each)
		}
		close(end)
		done.Wait()
	}
}
