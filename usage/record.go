package usage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"sync"
	"time"

	"apibuilder/store"
)

// A record stands in a file as
//
//	0x1E, CRC-32C of all that follows (4 bytes), length of what follows the length (2),
//	version, time, status, bytes in, bytes out, duration, wait for a start, CPU time,
//	lengths of id, API, key, method, path, route, node, error,
//	these texts, '\n'
//
// Fixed numbers are little-endian, the others varints of encoding/binary; times are microseconds since 1970, durations microseconds. In a text
// 0x00 stands for 0x1E, so that no text has what a record begins with: behind damage the next record is found by it, and nobody can write one
// into a path. It ends with what is not zero, so that the zeros behind a file's records are told from them.
const (
	recordStart   = 0x1E // "record separator" of ASCII
	recordEnd     = '\n'
	lengthAt      = 5
	headBytes     = 7
	maxText       = 256 // bytes of any text but a path
	maxPath       = 2048
	longestRecord = 20 << 10 // no record is as long, not even of texts that are longer when they are cleaned
)

// The texts of a record.
const (
	textID = iota
	textAPI
	textKey
	textMethod
	textPath
	textRoute
	textNode
	textError
	textCount
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	rooms      = sync.Pool{New: func() any { return new([]byte) }}
	errRecord  = errors.New("not a record of the journal")
)

// appendRecord adds u to b as Usage.Clean would make it, and cut.
func appendRecord(b []byte, u *store.Usage) []byte {
	texts := [textCount]string{
		cut(u.ID, maxText), cut(u.APIID, maxText), cut(u.KeyID, maxText), cut(u.Method, maxText), cut(u.Path, maxPath), cut(u.Route, maxPath),
		cut(u.Node, maxText), cut(u.Error, maxText),
	}
	begin := len(b)
	b = append(b, recordStart, 0, 0, 0, 0, 0, 0)
	for _, n := range [...]int64{
		int64(u.Version), u.Time.UnixMicro(), int64(u.Status), u.BytesIn, u.BytesOut, u.Duration.Microseconds(), u.StartWait.Microseconds(),
		u.CPU.Microseconds(),
	} {
		b = binary.AppendVarint(b, n)
	}
	lengths := len(b)
	b, plain := appendTexts(b, &texts)
	if !plain {
		for i, s := range texts {
			texts[i] = strings.ReplaceAll(store.CleanText(s), "\x1e", "\x00")
		}
		b, _ = appendTexts(b[:lengths], &texts)
	}
	b = append(b, recordEnd)
	seal(b[begin:])
	return b
}

// seal fills in a record's length and its sum.
func seal(record []byte) {
	binary.LittleEndian.PutUint16(record[lengthAt:], uint16(len(record)-headBytes)) //nolint:gosec // less than longestRecord
	binary.LittleEndian.PutUint32(record[1:], crc32.Checksum(record[lengthAt:], castagnoli))
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

// appendTexts reports whether all of them are what they should be.
func appendTexts(b []byte, texts *[textCount]string) (_ []byte, plain bool) {
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
	}
	begin := len(b)
	for _, s := range texts {
		b = append(b, s...)
	}
	return b, isPlain(b[begin:])
}

// isPlain reports whether a text has no control characters and nothing beyond ASCII, except DEL. Every request has some hundred bytes looked
// at, so it looks at eight at once: (x - n*0x0101...) & ^x has the high bit of a byte set if one of x is less than n (n <= 128).
func isPlain(text []byte) bool {
	const each = 0x0101010101010101
	for ; len(text) >= 8; text = text[8:] {
		x := binary.LittleEndian.Uint64(text)
		if ((x-' '*each)&^x|x)&(0x80*each) != 0 {
			return false
		}
	}
	for _, c := range text {
		if c < ' ' || c >= 0x80 {
			return false
		}
	}
	return true
}

// wholeRecord returns how long the record is that b begins with; 0: it begins with none.
func wholeRecord(b []byte) int {
	if len(b) < headBytes || b[0] != recordStart {
		return 0
	}
	n := headBytes + int(binary.LittleEndian.Uint16(b[lengthAt:]))
	if n > len(b) || crc32.Checksum(b[lengthAt:n], castagnoli) != binary.LittleEndian.Uint32(b[1:]) {
		return 0
	}
	return n
}

// decodeRecord reads a record that is whole, of which text is a copy; the record's texts are parts of it, or those of before, where they are
// the same.
func decodeRecord(record []byte, text string, before *store.Usage) (store.Usage, error) {
	if record[0] != recordStart {
		return decodeLine(record)
	}
	r := recordReader{record: record, text: text, at: headBytes}
	u := store.Usage{
		Version: int(r.number()), Time: time.UnixMicro(r.number()).UTC(), Status: int(r.number()), BytesIn: r.number(), BytesOut: r.number(),
		Duration: store.Micros(r.number()), StartWait: store.Micros(r.number()), CPU: store.Micros(r.number()),
	}
	var lengths [textCount]uint64
	for i := range lengths {
		lengths[i] = r.length()
	}
	u.ID = r.cut(lengths[textID], "")
	u.APIID = r.cut(lengths[textAPI], before.APIID)
	u.KeyID = r.cut(lengths[textKey], before.KeyID)
	u.Method = r.cut(lengths[textMethod], before.Method)
	u.Path = r.cut(lengths[textPath], before.Path)
	u.Route = r.cut(lengths[textRoute], before.Route)
	u.Node = r.cut(lengths[textNode], before.Node)
	u.Error = r.cut(lengths[textError], before.Error)
	if r.broken || r.at != len(record)-1 || u.ID == "" {
		return store.Usage{}, errRecord
	}
	return u, nil
}

// recordReader reads one part after the other. What it returns after it has become broken means nothing.
type recordReader struct {
	record []byte
	text   string // the same bytes
	at     int
	broken bool
}

func (r *recordReader) length() uint64 {
	if r.at < len(r.record) && r.record[r.at] < 0x80 { // nearly always
		r.at++
		return uint64(r.record[r.at-1])
	}
	return r.longNumber()
}

func (r *recordReader) longNumber() uint64 {
	n, size := binary.Uvarint(r.record[r.at:])
	if size <= 0 {
		r.broken = true
		return 0
	}
	r.at += size
	return n
}

// number undoes the zigzag of binary.AppendVarint.
func (r *recordReader) number() int64 {
	n := r.length()
	return int64(n>>1) ^ -int64(n&1)
}

func (r *recordReader) cut(length uint64, before string) string {
	if length > uint64(len(r.text)-r.at) {
		r.broken = true
		return ""
	}
	s := r.text[r.at : r.at+int(length)]
	r.at += int(length)
	switch {
	case s == before:
		return before
	case strings.IndexByte(s, 0) >= 0:
		return strings.ReplaceAll(s, "\x00", "\x1e")
	}
	return s
}
