package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"apibuilder/pace"
	"apibuilder/store"
)

// A block is usage records in the order in which they were stored:
//
//	format (1), number of records, time of the first one, and for each record its id, API, key, method, path, route, node, error,
//	version, time since the record before, status, bytes in, bytes out, duration, wait for a start, CPU time
//
// Numbers are varints of encoding/binary, times and durations are microseconds. A text is the number of an earlier one of the same
// block, counted from 1, or 0, its length and its bytes. An id is 1 and 16 bytes when it is a UUID as the gateway writes them,
// otherwise 0, its length and its bytes. A record takes some 45 bytes, 16 of which are its id.
const (
	blockFormat = 1
	leastRecord = 17 // bytes of a record
)

var errBlock = errors.New("not a block of usage records")

// appendBlock adds the block of records to b. It takes breaks where ctx is patient.
func appendBlock(ctx context.Context, b []byte, records []store.Usage) []byte {
	b = binary.AppendUvarint(append(b, blockFormat), uint64(len(records)))
	if len(records) == 0 {
		return b
	}
	before := records[0].Time.UnixMicro()
	w := blockWriter{b: binary.AppendVarint(b, before), known: map[string]uint64{}}
	for i := range records {
		pace.Round(ctx, i)
		r := &records[i]
		w.id(r.ID)
		for column, text := range [...]string{r.APIID, r.KeyID, r.Method, r.Path, r.Route, r.Node, r.Error} {
			w.text(column, text)
		}
		at := r.Time.UnixMicro()
		w.numbers(int64(r.Version), at-before, int64(r.Status), r.BytesIn, r.BytesOut, r.Duration.Microseconds(),
			r.StartWait.Microseconds(), r.CPU.Microseconds())
		before = at
	}
	return w.b
}

const blockTexts = 7 // of a record

type blockWriter struct {
	b     []byte
	known map[string]uint64
	last  [blockTexts]struct { // of each column: most records have what the one before had
		text   string
		number uint64
	}
}

func (w *blockWriter) numbers(all ...int64) {
	for _, n := range all {
		w.b = binary.AppendVarint(w.b, n)
	}
}

func (w *blockWriter) bytes(s string) {
	w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...)
}

func (w *blockWriter) text(column int, s string) {
	last := &w.last[column]
	if last.number > 0 && last.text == s {
		w.b = binary.AppendUvarint(w.b, last.number)
		return
	}
	number, known := w.known[s]
	if known {
		w.b = binary.AppendUvarint(w.b, number)
	} else {
		number = uint64(len(w.known) + 1)
		w.known[s] = number
		w.b = append(w.b, 0)
		w.bytes(s)
	}
	last.text, last.number = s, number
}

func (w *blockWriter) id(id string) {
	if uuid, ok := parseUUID(id); ok {
		w.b = append(append(w.b, 1), uuid[:]...)
		return
	}
	w.b = append(w.b, 0)
	w.bytes(id)
}

// uuidDigits is where the two digits of each byte of a UUID stand (RFC 9562, 4).
var uuidDigits = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

const digits = "0123456789abcdef"

// noDigit is the value of what is no small hexadecimal digit.
const noDigit = 16

var digitValue = func() (value [256]byte) {
	for c := range value {
		value[c] = noDigit
	}
	for n := range len(digits) {
		value[digits[n]] = byte(n)
	}
	return value
}()

// parseUUID reads one in small letters, so that formatUUID gives the same text.
func parseUUID(s string) (uuid [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return uuid, false
	}
	for i, at := range uuidDigits {
		high, low := digitValue[s[at]], digitValue[s[at+1]]
		if high|low >= noDigit {
			return uuid, false
		}
		uuid[i] = high<<4 | low
	}
	return uuid, true
}

func formatUUID(uuid []byte) string {
	text := [36]byte{8: '-', 13: '-', 18: '-', 23: '-'}
	for i, at := range uuidDigits {
		text[at], text[at+1] = digits[uuid[i]>>4], digits[uuid[i]&0xf]
	}
	return string(text[:])
}

// readBlock returns the records of a block; an errBlock for anything that appendBlock does not make.
func readBlock(data []byte) ([]store.Usage, error) {
	if len(data) == 0 || data[0] != blockFormat {
		return nil, fmt.Errorf("%w: it does not begin with format %d", errBlock, blockFormat)
	}
	r := blockReader{rest: string(data[1:])}
	n := r.uvarint()
	if n > uint64(len(data)/leastRecord) {
		return nil, fmt.Errorf("%w: %d records in %d bytes", errBlock, n, len(data))
	}
	records := make([]store.Usage, n)
	var at int64
	if n > 0 {
		at = r.varint()
	}
	for i := range records {
		u := &records[i]
		u.ID = r.id()
		for _, text := range [...]*string{&u.APIID, &u.KeyID, &u.Method, &u.Path, &u.Route, &u.Node, &u.Error} {
			*text = r.text()
		}
		u.Version = int(r.varint())
		at += r.varint()
		u.Time = time.UnixMicro(at).UTC()
		u.Status, u.BytesIn, u.BytesOut = int(r.varint()), r.varint(), r.varint()
		u.Duration, u.StartWait, u.CPU = r.micros(), r.micros(), r.micros()
		if r.broken {
			return nil, fmt.Errorf("%w: record %d of %d", errBlock, i+1, n)
		}
	}
	if r.broken || r.rest != "" {
		return nil, fmt.Errorf("%w: %d bytes behind its %d records", errBlock, len(r.rest), n)
	}
	return records, nil
}

// blockReader cuts what it has read off rest. What it returns after it has become broken means nothing.
type blockReader struct {
	rest   string
	known  []string
	broken bool
}

func (r *blockReader) cut(n uint64) string {
	if n > uint64(len(r.rest)) {
		r.broken, r.rest = true, ""
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *blockReader) uvarint() (v uint64) {
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		c := r.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 { // beyond 64 bits
				break
			}
			r.rest = r.rest[i+1:]
			return v
		}
	}
	r.broken, r.rest = true, ""
	return 0
}

// varint undoes the zigzag of binary.AppendVarint.
func (r *blockReader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *blockReader) micros() time.Duration { return store.Micros(r.varint()) }

func (r *blockReader) text() string {
	number := r.uvarint()
	switch {
	case number == 0:
		s := r.cut(r.uvarint())
		r.known = append(r.known, s)
		return s
	case number > uint64(len(r.known)):
		r.broken = true
		return ""
	}
	return r.known[number-1]
}

func (r *blockReader) id() string {
	switch r.cut(1) {
	case "\x00":
		return r.cut(r.uvarint())
	case "\x01":
		if uuid := r.cut(16); !r.broken {
			return formatUUID([]byte(uuid))
		}
	}
	r.broken = true
	return ""
}
