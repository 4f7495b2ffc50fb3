package usage

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"sync"

	"apibuilder/store"
)

// A line is the CRC-32C of the JSON in 8 hexadecimal digits, a space, the JSON object and a newline:
//
//	8c3c2f6f {"id":"req_1","api":"api_1","version":3,"time":1767323045000000,"method":"GET","path":"/","status":200,...}
//
// Times are microseconds since 1970, durations microseconds; what is empty or zero is left out.
const (
	maxText     = 256 // bytes of any text but the path
	maxPath     = 2048
	checkDigits = 8
	jsonStart   = `{"id":"` // occurs nowhere else in a line, because quotes inside texts are escaped
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	lines      = sync.Pool{New: func() any { return new([]byte) }}
	errLine    = errors.New("not a line of the journal")
)

// entry is a line's JSON object.
type entry struct {
	ID        string `json:"id"` // first, see jsonStart
	API       string `json:"api,omitempty"`
	Version   int    `json:"version,omitempty"`
	Key       string `json:"key,omitempty"`
	Time      int64  `json:"time"`
	Method    string `json:"method,omitempty"`
	Path      string `json:"path,omitempty"`
	Route     string `json:"route,omitempty"`
	Node      string `json:"node,omitempty"`
	Status    int    `json:"status,omitempty"`
	Error     string `json:"error,omitempty"`
	In        int64  `json:"in,omitempty"`
	Out       int64  `json:"out,omitempty"`
	Duration  int64  `json:"duration,omitempty"`
	StartWait int64  `json:"start_wait,omitempty"`
	CPU       int64  `json:"cpu,omitempty"`
}

// appendLine adds u's line to b as Usage.Clean would make it, and cut. It is written by hand because every request pays for it: what
// encoding/json does takes four times as long.
func appendLine(b []byte, u *store.Usage) []byte {
	begin := len(b)
	b = appendEntry(append(b, sumRoom...), u)
	fillSum(b[begin:])
	return append(b, '\n')
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

func appendSum(b, text []byte) []byte {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(text, castagnoli))
	return hex.AppendEncode(b, sum[:])
}

// decodeLine reads a line without its newline, of which text is a copy, and the record's texts parts; whole is false when something else stood
// before the record, as after a torn write.
func decodeLine(line []byte, text string) (u store.Usage, whole bool, err error) {
	at := 0 // where the search would end, for whatever is not torn
	if !isIntact(line) {
		at = bytes.LastIndex(line, []byte(" "+jsonStart)) - checkDigits
		if at <= 0 || !isIntact(line[at:]) {
			return u, false, errLine
		}
	}
	at += checkDigits + 1
	e, ok := readEntry(text[at:])
	if !ok {
		if e, err = readAnyEntry(line[at:]); err != nil {
			return u, false, err
		}
	}
	return e.usage(), at == checkDigits+1, nil
}

// readAnyEntry reads what readEntry leaves, apart from it because what is handed to encoding/json is allocated.
func readAnyEntry(text []byte) (e entry, err error) {
	if err := json.Unmarshal(text, &e); err != nil {
		return e, errors.Join(errLine, err)
	}
	return e, nil
}

// isIntact reports whether a line is a record's, with its sum.
func isIntact(line []byte) bool {
	if len(line) <= checkDigits || !bytes.HasPrefix(line[checkDigits:], []byte(" "+jsonStart)) {
		return false
	}
	var room [checkDigits]byte
	return bytes.Equal(line[:checkDigits], appendSum(room[:0], line[checkDigits+1:]))
}
