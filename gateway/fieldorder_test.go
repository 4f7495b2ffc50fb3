package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRequestFieldsKeepTheirOrder sends requests in the plain form and in others, in one piece and in several, and looks at what the program gets.
func TestRequestFieldsKeepTheirOrder(t *testing.T) {
	heads := make(chan string, 1)
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			heads <- head
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	numbered := func(n int) (lines []string) {
		for i := range n {
			lines = append(lines, fmt.Sprintf("X-%d: %d", (i*37)%n, i)) // n and 37 have no common divisor
		}
		return lines
	}
	for name, c := range map[string]struct {
		lines []string
		want  []string // nil: as they are
		any   bool     // the order is not kept
	}{
		"plain":                {lines: []string{"Z: 1", "A: 2", "M: 3", "B: 4"}},
		"as many as have room": {lines: numbered(fewFields)},
		"more":                 {lines: numbered(50)},
		"too many":             {lines: numbered(mostOrdered + 1), any: true},
		"a name twice":         {lines: []string{"Z: 1", "A: 2", "Z: 3", "B: 4", "A: 5"}, want: []string{"Z: 1", "Z: 3", "A: 2", "A: 5", "B: 4"}},
		"other spellings":      {lines: []string{"z-z: 1", "A-a: 2", "Z-z: 3", "b: 4"}, want: []string{"Z-Z: 1", "Z-Z: 3", "A-A: 2", "B: 4"}},
		"what stays here":      {lines: []string{"Z: 1", "Connection: close, M", "M: 1", "A: 2", "Forwarded: for=1", "B: 3"}, want: []string{"Z: 1", "A: 2", "B: 3"}},
		"much":                 {lines: []string{"Z: " + strings.Repeat("z", readBytes), "A: 2"}, any: true},
	} {
		if c.want == nil {
			c.want = c.lines
		}
		for _, pieces := range []bool{false, true} {
			conn := d.dial()
			text := "GET /run/public/ HTTP/1.1\r\nHost: h\r\n" + strings.Join(c.lines, "\r\n") + "\r\n\r\n"
			if pieces {
				conn.send("%s", text[:len(text)/2])
				time.Sleep(5 * time.Millisecond) // if they come as one all the same, the test says less
				text = text[len(text)/2:]
			}
			conn.send("%s", text)
			_, got, _ := strings.Cut(within(t, name, heads), "\r\nHost: h\r\n")
			got, _, _ = strings.Cut(got, "Via: ")
			lines, want := strings.Split(strings.TrimSuffix(got, "\r\n"), "\r\n"), slices.Clone(c.want)
			if c.any {
				slices.Sort(lines)
				slices.Sort(want)
			}
			if !slices.Equal(lines, want) {
				t.Errorf("%s, pieces %v: %q, want %q", name, pieces, lines, want)
			}
			if got := conn.answer("GET"); got.StatusCode != 204 {
				t.Errorf("%s: status %d", name, got.StatusCode)
			}
		}
	}
}

// TestFieldsThatWereAddedFollow: what the gateway itself has put into a request, or taken from it, is no reason to lose others.
func TestFieldsThatWereAddedFollow(t *testing.T) {
	var o fieldOrder
	for _, name := range []string{"Z", "Gone", "A"} {
		o.add(name)
	}
	h := http.Header{"A": {"1"}, "Z": {"2", "3"}, "Added": {"4"}}
	var got []string
	o.each(h, func(name string, values []string) { got = append(got, name+strings.Join(values, "")) })
	if want := []string{"Z23", "A1", "Added4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
