package logs

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFloodOfEventsIsCounted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Dir: dir})
		b.Start(func(err error) { t.Error(err) })
		for i := range 60_000 { // a minute of a thousand a second
			if err := b.Tell(someAPI, Line{Stream: Gateway, Event: "rate_limited", Request: fmt.Sprint(i), Text: fmt.Sprint("no ", i)}); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				_ = b.Tell(someAPI, Line{Stream: Deploy, Event: "deployed", Text: "another event"})
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * noticePause)
		lines, err := b.Read(t.Context(), someAPI, Filter{}, 1000)
		if err != nil || len(lines) > noticeBurst+2*8 {
			t.Errorf("%d lines, %v", len(lines), err)
		}
		told, left := 0, 0
		for _, l := range lines {
			var n int
			if _, err := fmt.Sscanf(l.Text, "rate_limited: %d more like this", &n); err == nil {
				left += n
				if l.Request != "" || l.Event != "rate_limited" {
					t.Errorf("%+v", l)
				}
			} else if l.Event == "rate_limited" {
				told++
			}
		}
		if told+left != 60_000 || told < noticeBurst {
			t.Errorf("%d are told and %d counted", told, left)
		}
		time.Sleep(noticeBurst*noticePause + 2*noticePause)
		synctest.Wait()
		if len(b.notices.seen) != 0 {
			t.Errorf("%d are remembered", len(b.notices.seen))
		}
		for range noticeBurst + 5 {
			_ = b.Tell(someAPI, Line{Stream: Gateway, Event: "queue_full", Text: "full"})
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		b = New(Config{Dir: dir})
		defer b.Close()
		if got := read(t, b); !strings.HasSuffix(got, "queue_full: 5 more like this, the last one: full") {
			t.Errorf("%q", got[max(0, len(got)-100):])
		}
	})
}

func TestWhatIsRememberedOfEventsIsBounded(t *testing.T) {
	b := New(Config{Dir: t.TempDir()})
	now := time.Now()
	for i := range noticeMost + 100 {
		b.notices.admit(fmt.Sprint(i), Line{Event: "x"}, now)
	}
	if len(b.notices.seen) != noticeMost {
		t.Errorf("%d", len(b.notices.seen))
	}
	b.notices.forget("7")
	if len(b.notices.seen) != noticeMost-1 {
		t.Errorf("%d", len(b.notices.seen))
	}
}
