package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// What is kept of a stream has a rate, and what is read of it a higher one. Output beyond the first is left out, with a line
// that says how much; output beyond the second is not read until its time has come. So a program that floods its log costs the
// host next to nothing, and is slowed down rather than stopped.
const (
	keptPerSecond = 1 << 20
	keptBurst     = 4 << 20
	readPerSecond = 16 << 20
	readBurst     = 16 << 20

	leastCost = 256     // of a line, however short: each is written by itself
	resumeAt  = 1 << 20 // after output was left out, so much must be allowed again
)

// OutputLeftOut is the Event of lines that say that a program's output came too fast to be kept.
const OutputLeftOut = "output_left_out"

// ReadLines reads r to its end and passes on its lines, each with the time at which it was complete, its level and the request
// that it was printed in, as far as they can be told. Bytes that are not UTF-8 are replaced. r is hostile: memory is bounded by
// MaxLine, the rate by budgets.
func ReadLines(r io.Reader, stream string, output func(Line)) {
	now := time.Now()
	k := keeper{stream: stream, output: output, budget: newBudget(keptPerSecond, keptBurst, now)}
	k.lines.emit = k.line
	pace := newBudget(readPerSecond, readBurst, now)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		now = time.Now()
		k.write(buf[:n], now)
		if err != nil {
			k.close()
			return
		}
		if wait := pace.spend(n, now); wait > 0 {
			time.Sleep(wait)
		}
	}
}

// keeper turns one stream into lines, as many as may be kept.
type keeper struct {
	stream string
	output func(Line)
	budget budget
	lines  splitter
	reader lineReader

	leaving bool  // output is left out until the budget has recovered
	left    int64 // bytes that were
	rest    int   // bytes of a line that are left out at most, as its beginning was
}

func (k *keeper) write(p []byte, now time.Time) {
	if k.leaving {
		p = k.leaveOut(p, now)
	}
	if k.leaving || len(p) == 0 {
		return
	}
	k.lines.write(p)
	if k.leaving { // what is pending belongs to a line that is left out
		k.left += int64(k.lines.drop())
		k.leftWithin(p)
	}
}

// leaveOut leaves out p, or what of it is left out before output is kept again, and returns the rest. A line whose beginning was left out
// has lost its mark with it, and is left out to its end unless that is far away.
func (k *keeper) leaveOut(p []byte, now time.Time) (kept []byte) {
	if k.budget.left(now) < resumeAt {
		k.left += int64(len(p))
		k.leftWithin(p)
		return nil
	}
	n := min(len(p), k.rest)
	k.rest -= n
	if end := bytes.IndexByte(p[:n], '\n'); end >= 0 {
		n, k.rest = end+1, 0
	}
	k.left += int64(n)
	if k.rest == 0 {
		k.resume()
	}
	return p[n:]
}

// leftWithin notes whether what is left out so far ends within a line.
func (k *keeper) leftWithin(p []byte) {
	switch {
	case len(p) == 0:
	case p[len(p)-1] == '\n':
		k.rest = 0
	default:
		k.rest = MaxLine
	}
}

// line keeps one line, or a piece of a long one, unless the budget is used up.
func (k *keeper) line(text string, more bool) {
	if k.leaving {
		k.left += int64(len(text)) + 1
		return
	}
	now := time.Now()
	line := k.reader.read(text, more)
	line.Time, line.Stream = now.UTC(), k.stream
	k.output(line)
	if k.budget.spend(cost(text), now); k.budget.tokens <= 0 {
		k.leaving = true
		k.say(k.stream + " comes faster than it can be kept: what follows is left out")
	}
}

// cost is how many bytes are written for a line, about: whoever keeps it as JSON writes six for a control character.
func cost(text string) int {
	n := len(text)
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ':
			n += len(`\u0001`) - 1
		case c == '"', c == '\\':
			n++
		}
	}
	return max(n, leastCost)
}

func (k *keeper) resume() {
	k.leaving, k.reader = false, lineReader{} // the next line goes on no line from before
	k.say(fmt.Sprintf("%d bytes of %s are left out here", k.left, k.stream))
	k.left = 0
}

func (k *keeper) say(text string) {
	k.output(Line{Time: time.Now().UTC(), Stream: "sandbox", Level: LevelWarning, Event: OutputLeftOut, Text: text})
}

func (k *keeper) close() {
	k.lines.flush()
	if k.leaving {
		k.resume()
	}
}

// budget is a token bucket of bytes.
type budget struct {
	rate, burst float64
	tokens      float64
	last        time.Time
}

func newBudget(perSecond, burst float64, now time.Time) budget {
	return budget{perSecond, burst, burst, now}
}

// left is how much may be spent at once.
func (b *budget) left(now time.Time) float64 {
	b.tokens = min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
	return b.tokens
}

// spend takes n, and returns how long it takes until the budget is not overdrawn.
func (b *budget) spend(n int, now time.Time) time.Duration {
	b.tokens = b.left(now) - float64(n)
	return time.Duration(max(0, -b.tokens/b.rate) * float64(time.Second))
}
