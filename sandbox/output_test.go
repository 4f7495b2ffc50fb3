package sandbox

import (
	"bytes"
	"encoding/json"
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
		"one endless line": "x", "binary": string([]byte{0xff, 0, 0x1e, 0x1f, 0xc3}), "control characters": "\x01", "quotes": `"\`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, lines, kept, written, told := time.Now(), 0, 0, 0, int64(0)
				ReadLines(&endless{text: text, n: poured}, "stdout", func(l Line) {
					var n int64
					if l.Event != OutputLeftOut {
						lines++
						kept += len(l.Text)
						text, _ := json.Marshal(l.Text)
						written += len(text)
					} else if _, err := fmt.Sscanf(l.Text, "%d bytes of stdout are left out here", &n); err == nil {
						told += n
					}
				})
				took := time.Since(began).Seconds()
				if least, most := (poured-readBurst)/float64(readPerSecond), poured/float64(readPerSecond)+1; took < least || took > most {
					t.Errorf("took %.1f s, want %.1f to %.1f", took, least, most)
				}
				allowed := keptBurst + int((took+1)*keptPerSecond)
				if most := allowed + lines*len(`""`) + 6*MaxLine; written > most {
					t.Errorf("%d bytes are written of what may be %d bytes", written, most)
				}
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

// What comes after a gap has nothing of the line in which it began: neither its request and level, nor its end.
func TestALineAfterAGapIsItsOwn(t *testing.T) {
	const other = "22222222-2222-2222-2222-222222222222"
	long := strings.Repeat("x", MaxLine)
	marked := "\x1e" + other + ";i\x1fof another request\n"
	for name, c := range map[string]struct {
		gap, after []string // written while output is left out, and then
		text       string   // of the last line
		request    string
		level      string
	}{
		"it ends with a line":       {[]string{"\n"}, []string{marked}, "of another request", other, LevelInfo},
		"it ends within a line":     {nil, []string{"the end of it\n" + marked}, "of another request", other, LevelInfo},
		"within a mark":             {[]string{"\n\x1e11111"}, []string{"111-1111-1111;e\x1fx\n", marked}, "of another request", other, LevelInfo},
		"the line's end comes late": {nil, []string{"x", "x", "x\n" + marked}, "of another request", other, LevelInfo},
		"the line has no end":       {nil, []string{long, "\x1e" + other + ";w\x1fy\n"}, "y", other, LevelWarning},
		"below an error":            {[]string{"\n"}, []string{" indented\n"}, " indented", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []Line
				k := keeper{stream: "stdout", output: func(l Line) { got = append(got, l) }, budget: newBudget(keptPerSecond, keptBurst, time.Now())}
				k.lines.emit = k.line
				write := func(text string) { k.write([]byte(text), time.Now()) }
				write("\x1e" + someRequest + ";e\x1f")
				for !k.leaving {
					write(long)
				}
				kept := len(got)
				for _, text := range c.gap {
					write(text)
				}
				time.Sleep(3 * time.Second)
				for _, text := range c.after {
					write(text)
				}
				l := got[len(got)-1]
				if l.Text != c.text || l.Request != c.request || l.Level != c.level {
					t.Errorf("the last line is %+v", l)
				}
				var told int
				if _, err := fmt.Sscanf(got[kept].Text, "%d bytes of stdout are left out here", &told); err != nil || len(got) != kept+2 {
					t.Errorf("%d lines after the gap, the first is %+v", len(got)-kept, got[kept])
				}
			})
		})
	}
}
