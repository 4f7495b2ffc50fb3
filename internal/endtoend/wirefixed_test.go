package endtoend

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// fixedTimes are three consumers for whom times hold that nobody can set. They begin together and take more than ten seconds.
type fixedTimes struct {
	api               *stalling
	began             time.Time
	head, crawl, slow *wire
	headEnd           chan string // what came to an end of the head, or what was read
	sent              chan struct{}
}

const fixedGrace = 10 * time.Second // for the head of a request, and for a body beyond the time that 240 bytes a second take

// beginFixed has one consumer stop within the head of its request, one send its body byte by byte, and one take longer for its body than
// the program may for its answer.
func (a *stalling) beginFixed(t *testing.T) *fixedTimes {
	t.Helper()
	f := &fixedTimes{
		api: a, began: time.Now(), head: a.dial(t), crawl: a.dial(t), slow: a.dial(t),
		headEnd: make(chan string, 1), sent: make(chan struct{}),
	}
	for _, w := range []*wire{f.head, f.crawl, f.slow} {
		_ = w.SetDeadline(f.began.Add(2 * time.Minute))
	}
	a.set("request-timeout", "1s")
	for target, w := range map[string]*wire{"/read?slow": f.slow, "/read?crawl": f.crawl} {
		w.request("POST", target, "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
		w.want("HTTP/1.1 100 Continue\r\n\r\n") // its times are settled
	}
	a.set("request-timeout", "")
	f.head.write("GET " + f.head.path)
	go f.readHead()
	go f.send()
	return f
}

func (f *fixedTimes) readHead() {
	text, err := io.ReadAll(f.head.r)
	f.headEnd <- fmt.Sprintf("%q, %v, %v", text, err, time.Since(f.began) >= fixedGrace)
}

// send sends for three seconds what is only slow, and what crawls until it is refused.
func (f *fixedTimes) send() {
	defer close(f.sent)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for now := f.began; ; now = <-tick.C {
		if now.Sub(f.began) < 3*time.Second {
			_, _ = fmt.Fprintf(f.slow, "400\r\n%s\r\n", strings.Repeat("x", 0x400))
		}
		if _, err := io.WriteString(f.crawl, "1\r\nx\r\n"); err != nil {
			return
		}
	}
}

func (f *fixedTimes) test(t *testing.T) {
	f.crawl.t, f.slow.t = t, t
	res := f.crawl.head("POST")
	if took := time.Since(f.began); res.StatusCode != 408 || took < fixedGrace {
		t.Errorf("a body that crawls: status %d after %v", res.StatusCode, took)
	}
	wantProblem(t, res, "body_timeout")
	f.api.wantRecord(res, "body_timeout")
	_ = f.crawl.Close()
	<-f.sent
	f.api.wantTold(t, "crawl")
	f.slow.write("0\r\n\r\n")
	if res, text := f.slow.answer("POST"); res.StatusCode != 200 || text != "well" {
		t.Errorf("a slow body: status %d, %s", res.StatusCode, text)
	}
	if got := <-f.headEnd; got != `"", <nil>, true` {
		t.Errorf("a head that stalls: read %s", got)
	}
}
