package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// endless gives the same text again and again, n bytes in all.
type endless struct {
	text string
	n    int64
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), e.n)]
	for i := range p {
		p[i] = e.text[e.at]
		e.at = (e.at + 1) % len(e.text)
	}
	e.n -= int64(len(p))
	return len(p), nil
}

// TestAFloodIsPacedAndTold pours out lines of every kind. What is kept has its bound, the rest is counted, and the program is
// through at the rate that is promised.
func TestAFloodIsPacedAndTold(t *testing.T) {
	const poured = 256 << 20
	for name, text := range map[string]string{
		"lines": "WARNING:root:a line of the usual length, as loggers write them\n", "line feeds": "\n",
		"one endless line": "x", "binary": string([]byte{0xff, 0, 0x1e, 0x1f, 0xc3}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, lines, kept, told := time.Now(), 0, 0, int64(0)
				ReadLines(&endless{text: text, n: poured}, "stdout", func(l Line) {
					var n int64
					if l.Event != OutputLeftOut {
						lines++
						kept += len(l.Text)
					} else if _, err := fmt.Sscanf(l.Text, "%d bytes of stdout are left out here", &n); err == nil {
						told += n
					}
				})
				took := time.Since(began).Seconds()
				if least, most := (poured-readBurst)/float64(readPerSecond), poured/float64(readPerSecond)+1; took < least || took > most {
					t.Errorf("took %.1f s, want %.1f to %.1f", took, least, most)
				}
				allowed := keptBurst + int((took+1)*keptPerSecond)
				if lines > allowed/leastCost || kept > 3*allowed || lines < 100 {
					t.Errorf("%d lines and %d bytes are kept of what may be %d bytes", lines, kept, allowed)
				}
				if name == "lines" && told+int64(kept+lines) != poured {
					t.Errorf("%d bytes are kept and %d told of, of %d", kept+lines, told, poured)
				}
			})
		})
	}
}

func TestAfterAFloodOutputIsKeptAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Line
		k := keeper{stream: "stderr", output: func(l Line) { got = append(got, l) }, budget: newBudget(keptPerSecond, keptBurst, time.Now())}
		k.lines.emit = k.line
		flood := bytes.Repeat([]byte(strings.Repeat("x", 1023)+"\n"), 8<<10)
		k.write(flood, time.Now())
		if last := got[len(got)-1]; last.Event != OutputLeftOut || last.Stream != "sandbox" || last.Level != LevelWarning {
			t.Fatalf("nobody is told: %+v", last)
		}
		n := len(got)
		k.write([]byte("too soon\n"), time.Now())
		if len(got) != n {
			t.Fatalf("kept %+v", got[n:])
		}
		time.Sleep(3 * time.Second)
		k.write([]byte("ERROR:x:after\n"), time.Now())
		if rest := got[n:]; len(rest) != 2 || rest[0].Event != OutputLeftOut || rest[1].Text != "ERROR:x:after" || rest[1].Level != LevelError {
			t.Fatalf("%+v", rest)
		}
	})
}
