package logs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/logs"
)

func follow(t *testing.T, b *logs.Book, f logs.Filter, n int) ([]logs.Line, *logs.Follower) {
	t.Helper()
	tail, follower, err := b.Follow(t.Context(), api, f, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.Close)
	return tail, follower
}

func next(t *testing.T, f *logs.Follower) string {
	t.Helper()
	l, ok := f.Next(t.Context())
	if !ok {
		t.Fatal("it has ended")
	}
	return l.Text
}

func TestFollowLosesAndDoublesNothing(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	appendAll(t, b, "a")
	tail, f := follow(t, b, logs.Filter{}, 10)
	if texts(tail) != "a" {
		t.Fatalf("%q", texts(tail))
	}
	appendAll(t, b, "b", "c")
	if x, y := next(t, f), next(t, f); x != "b" || y != "c" {
		t.Fatalf("%q %q", x, y)
	}
	f.Close()
	f.Close()
	if _, more := f.Next(t.Context()); more {
		t.Fatal("a line after the end")
	}
	appendAll(t, b, "d")
}

// TestFollowWhileOthersWrite follows from the middle of what is being written, over several turns of the files and a change of
// the version.
func TestFollowWhileOthersWrite(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(logs.Config{Dir: dir, Limits: logs.Limits{Size: logs.LeastSize}})
	defer b.Close()
	const lines = 3000
	var writer sync.WaitGroup
	half := make(chan struct{})
	paced := make(chan struct{}, 100) // far fewer than the lines of version 1 that are left at half
	writer.Go(func() {
		for i := range lines {
			if i == lines/2 {
				close(half)
			}
			if i >= lines/2 {
				paced <- struct{}{} // so that the follower keeps up
			}
			_ = b.Append(api, logs.Line{Time: time.Now(), Version: 1 + i/2000, Stream: "stdout", Text: fmt.Sprint(i)})
		}
	})
	<-half
	tail, f := follow(t, b, logs.Filter{}, 100000)
	var got []string
	versions := map[int]bool{} // of the lines that were followed
	for _, l := range tail {
		got = append(got, l.Text)
	}
	for got == nil || got[len(got)-1] != fmt.Sprint(lines-1) {
		for len(paced) > 0 {
			<-paced
		}
		l, ok := f.Next(t.Context())
		if !ok {
			t.Fatal("it has ended")
		}
		versions[l.Version] = true
		got = append(got, l.Text)
	}
	writer.Wait()
	for i, text := range got {
		if want := fmt.Sprint(lines - len(got) + i); text != want {
			t.Fatalf("line %d of %d is %q, want %q", i, len(got), text, want)
		}
	}
	if len(tail) == 0 || !versions[1] || !versions[2] {
		t.Errorf("%d lines before, %d in all, versions %v", len(tail), len(got), versions)
	}
	if info, err := os.Stat(dir + "/" + api + ".jsonl.1"); err != nil || info.Size() > logs.LeastSize/2 {
		t.Errorf("the files did not turn: %v", err)
	}
}

func TestFollowWithAFilter(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	pattern, err := logs.ParsePattern("^[bd]$")
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, b, "a", "b")
	tail, f := follow(t, b, logs.Filter{Pattern: pattern}, 10)
	if texts(tail) != "b" {
		t.Fatalf("%q", texts(tail))
	}
	appendAll(t, b, "c", "d", "e")
	if got := next(t, f); got != "d" {
		t.Fatalf("%q", got)
	}
}

func TestASlowFollowerIsToldWhatItMissed(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	_, f := follow(t, b, logs.Filter{Version: 1}, 0)
	for range 1024 + 7 {
		appendAll(t, b, "x")
	}
	next(t, f)
	next(t, f)
	appendAll(t, b, "last")
	var got []string
	for range 1024 {
		got = append(got, next(t, f))
	}
	if end := got[len(got)-2:]; end[0] != "7 lines are left out here" || end[1] != "last" {
		t.Fatalf("%q", end)
	}
}

func TestAFollowerHoldsABoundedNumberOfBytes(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	_, f := follow(t, b, logs.Filter{}, 0)
	long := strings.Repeat("x", 16<<10)
	for range 1000 {
		appendAll(t, b, long)
	}
	held := 0
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	for {
		l, ok := f.Next(ctx)
		if !ok {
			break
		}
		held += len(l.Text)
	}
	if held > 1<<20 || held < 1<<19 {
		t.Errorf("%d bytes were held", held)
	}
}

func TestFollowersAreBounded(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	var all []*logs.Follower
	for {
		_, f, err := b.Follow(t.Context(), api, logs.Filter{}, 0)
		if errors.Is(err, logs.ErrBusy) {
			break
		}
		if all = append(all, f); len(all) > 1000 {
			t.Fatal("there is no bound")
		}
	}
	all[0].Close()
	follow(t, b, logs.Filter{}, 0)
}

func TestRemoveAndCloseEndFollowers(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(logs.Config{Dir: dir})
	appendAll(t, b, "a")
	_, f := follow(t, b, logs.Filter{}, 0)
	if err := b.Remove(api); err != nil {
		t.Fatal(err)
	}
	if _, more := f.Next(t.Context()); more {
		t.Fatal("a line after the end")
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Fatalf("left behind: %v", entries)
	}
	if err := b.Remove(api); err != nil {
		t.Fatal(err)
	}
	_, f = follow(t, b, logs.Filter{}, 0)
	b.Close()
	if _, more := f.Next(t.Context()); more {
		t.Fatal("a line after the end")
	}
}

// TestFollowGoesOnAfterTheClockWasSetBack: who comes again asks for what is newer than the last line, of before that.
func TestFollowGoesOnAfterTheClockWasSetBack(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	now := time.Now()
	if err := b.Append(api, logs.Line{Time: now.Add(time.Hour), Stream: "stdout", Text: "ahead"}); err != nil {
		t.Fatal(err)
	}
	tail, f := follow(t, b, logs.Filter{Since: now.Add(time.Hour)}, 10)
	if texts(tail) != "ahead" {
		t.Fatalf("%q", texts(tail))
	}
	if err := b.Append(api, logs.Line{Time: now, Stream: "stdout", Text: "now"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if l, ok := f.Next(ctx); !ok || l.Text != "now" {
		t.Errorf("%q, %v", l.Text, ok)
	}
}
