package logs

import (
	"context"
	"os"
	"testing"
	"time"
)

// Somebody who has found a log just before it is removed neither makes it anew nor keeps a descriptor of it.
func TestAPageThatIsRemovedIsNotWritten(t *testing.T) {
	b := New(Config{Dir: t.TempDir()})
	defer b.Close()
	if err := b.Append("api_a", Line{Text: "one"}); err != nil {
		t.Fatal(err)
	}
	p, err := b.page("api_a")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Remove("api_a"); err != nil {
		t.Fatal(err)
	}
	if err := p.append([]byte("{}\n"), Line{}); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(b.cfg.Dir); err != nil || len(entries) != 0 || b.open.Load() != 0 {
		t.Errorf("%d files, %d of them open, error %v", len(entries), b.open.Load(), err)
	}
	p.mu.Lock()
	f, err := p.followLocked(Filter{})
	p.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, more := f.Next(ctx); more || ctx.Err() != nil {
		t.Errorf("who follows it waits: %v, %v", more, ctx.Err())
	}
}
