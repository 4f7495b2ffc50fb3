package usage

import (
	"encoding/json"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"apibuilder/store"
)

// encoding/json costs more than the write itself, twice for each request. Lines are written and read here without it, in
// the form that it gives; a line of another form is left to it.

// sumRoom stands where the sum will be when the text behind it is known.
const sumRoom = "00000000 "

// appendEntry appends the JSON object of a record.
func appendEntry(b []byte, u *store.Usage) []byte {
	w := lineWriter{b: append(b, '{')}
	w.text(`"id":`, u.ID, maxText, true)
	w.text(`,"api":`, u.APIID, maxText, false)
	w.number(`,"version":`, int64(u.Version), false)
	w.text(`,"key":`, u.KeyID, maxText, false)
	w.number(`,"time":`, u.Time.UnixMicro(), true)
	w.text(`,"method":`, u.Method, maxText, false)
	w.text(`,"path":`, u.Path, maxPath, false)
	w.text(`,"route":`, u.Route, maxPath, false)
	w.text(`,"node":`, u.Node, maxText, false)
	w.number(`,"status":`, int64(u.Status), false)
	w.text(`,"error":`, u.Error, maxText, false)
	w.number(`,"in":`, u.BytesIn, false)
	w.number(`,"out":`, u.BytesOut, false)
	w.number(`,"duration":`, u.Duration.Microseconds(), false)
	w.number(`,"start_wait":`, u.StartWait.Microseconds(), false)
	w.number(`,"cpu":`, u.CPU.Microseconds(), false)
	return append(w.b, '}')
}

type lineWriter struct{ b []byte }

func (w *lineWriter) number(name string, n int64, always bool) {
	if n != 0 || always {
		w.b = strconv.AppendInt(append(w.b, name...), n, 10)
	}
}

// text writes at most so many bytes of a text.
func (w *lineWriter) text(name, s string, most int, always bool) {
	if s == "" && !always {
		return
	}
	s = cut(s, most)
	w.b = append(w.b, name...)
	if isPlain(s) {
		w.b = append(append(append(w.b, '"'), s...), '"')
		return
	}
	quoted, _ := json.Marshal(store.CleanText(s)) // of a string it does not fail; what is plain is clean
	w.b = append(w.b, quoted...)
}

// isPlain reports whether a JSON string of s is s in quotes.
func isPlain(s string) bool {
	for i := range len(s) {
		if !plain[s[i]] {
			return false
		}
	}
	return true
}

// plain are the bytes that stand for themselves. Every request has some hundred of them looked up.
var plain = func() (plain [256]bool) {
	for c := ' '; c <= '~'; c++ {
		plain[c] = !strings.ContainsRune(`"\<>&`, c)
	}
	return plain
}()

// fillSum puts the sum of what is behind its place into it.
func fillSum(line []byte) {
	const digits = "0123456789abcdef"
	sum := crc32.Checksum(line[len(sumRoom):], castagnoli)
	for i := range checkDigits {
		line[i] = digits[sum>>(4*(checkDigits-1-i))&0xf]
	}
}

// readEntry reads what appendEntry wrote without escapes; false for anything else.
func readEntry(text string) (e entry, ok bool) {
	r := lineReader{rest: text, ok: true}
	r.expect("{")
	e.ID = r.text(`"id":"`)
	e.API = r.text(`,"api":"`)
	e.Version = int(r.number(`,"version":`))
	e.Key = r.text(`,"key":"`)
	e.Time = r.number(`,"time":`)
	e.Method = r.text(`,"method":"`)
	e.Path = r.text(`,"path":"`)
	e.Route = r.text(`,"route":"`)
	e.Node = r.text(`,"node":"`)
	e.Status = int(r.number(`,"status":`))
	e.Error = r.text(`,"error":"`)
	e.In = r.number(`,"in":`)
	e.Out = r.number(`,"out":`)
	e.Duration = r.number(`,"duration":`)
	e.StartWait = r.number(`,"start_wait":`)
	e.CPU = r.number(`,"cpu":`)
	r.expect("}")
	return e, r.ok && r.rest == "" && strings.IndexByte(text, '\\') < 0
}

// lineReader cuts what it has read off rest. ok becomes false at the first thing that it does not know.
type lineReader struct {
	rest string
	ok   bool
}

func (r *lineReader) skip(prefix string) bool {
	if len(r.rest) < len(prefix) || r.rest[:len(prefix)] != prefix {
		return false
	}
	r.rest = r.rest[len(prefix):]
	return true
}

func (r *lineReader) expect(prefix string) { r.ok = r.skip(prefix) && r.ok }

func (r *lineReader) text(prefix string) string {
	if !r.skip(prefix) {
		return ""
	}
	end := strings.IndexByte(r.rest, '"')
	if end < 0 {
		r.ok = false
		return ""
	}
	s := r.rest[:end]
	r.rest = r.rest[end+1:]
	return s
}

// shortNumber is how many digits always fit into an int64.
const shortNumber = 18

func (r *lineReader) number(prefix string) int64 {
	if !r.skip(prefix) {
		return 0
	}
	var n int64
	end := 0
	for end < len(r.rest) && r.rest[end] >= '0' && r.rest[end] <= '9' {
		n = 10*n + int64(r.rest[end]-'0')
		end++
	}
	if end > 0 && end <= shortNumber {
		r.rest = r.rest[end:]
		return n
	}
	for end < len(r.rest) && (r.rest[end] == '-' || r.rest[end] >= '0' && r.rest[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(r.rest[:end], 10, 64)
	if err != nil {
		r.ok = false
	}
	r.rest = r.rest[end:]
	return n
}

func (e entry) usage() store.Usage {
	return store.Usage{
		ID: e.ID, APIID: e.API, Version: e.Version, KeyID: e.Key, Time: time.UnixMicro(e.Time).UTC(),
		Method: e.Method, Path: e.Path, Route: e.Route, Node: e.Node, Status: e.Status, Error: e.Error, BytesIn: e.In, BytesOut: e.Out,
		Duration:  time.Duration(e.Duration) * time.Microsecond,
		StartWait: time.Duration(e.StartWait) * time.Microsecond,
		CPU:       time.Duration(e.CPU) * time.Microsecond,
	}
}
