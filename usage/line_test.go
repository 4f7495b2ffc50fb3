package usage

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"apibuilder/store"
)

func decode(line []byte) (store.Usage, bool, error) { return decodeLine(line, string(line)) }

func sample() store.Usage {
	return store.Usage{
		ID: "req_q3f5abcdefghijkl", APIID: "api_q3f5abcdefghijkl", Version: 3, KeyID: "key_q3f5abcdefghijkl",
		Time: time.UnixMicro(1767323045000001).UTC(), Method: "POST", Path: "/resize/picture.png", Status: 200,
		BytesIn: 123456, BytesOut: 65432, Duration: 15300 * time.Microsecond, StartWait: 4 * time.Microsecond,
		Route: "/resize/{name}", Node: "node-1", CPU: 1200 * time.Microsecond,
	}
}

func encode(u store.Usage) []byte {
	return appendLine(nil, &u)
}

func TestLineRoundTrip(t *testing.T) {
	negative := sample()
	negative.BytesIn, negative.Duration, negative.Time = -1, -time.Second, time.Time{}
	quoted := sample()
	quoted.Path, quoted.Error = "/\"\\\n\x01\u2028é\U0001F600\x7f{\"id\":\"", "crashed"
	for _, u := range []store.Usage{sample(), negative, quoted, {ID: "x"}, {ID: strings.Repeat("\"", maxText)}} {
		line := encode(u)
		if bytes.Count(line, []byte("\n")) != 1 || !bytes.HasSuffix(line, []byte("\n")) || !json.Valid(line[9:len(line)-1]) {
			t.Fatalf("not a line with JSON: %q", line)
		}
		got, whole, err := decode(line[:len(line)-1])
		if err != nil || !whole || got != u {
			t.Fatalf("%q:\n got %+v, %v\nwant %+v", line, got, err, u)
		}
	}
}

func TestTextIsCleanedAndCut(t *testing.T) {
	u := store.Usage{ID: "x", Path: strings.Repeat("é", 1<<20), Method: strings.Repeat("M", 1000), Error: "a\x00\xff"}
	line := encode(u)
	got, _, err := decode(line[:len(line)-1])
	if err != nil || len(got.Path) != maxPath || len(got.Method) != maxText || got.Error != "a\uFFFD\uFFFD" {
		t.Fatalf("%d, %d, %q, %v", len(got.Path), len(got.Method), got.Error, err)
	}
	worst := strings.Repeat("\x01", 1<<16)
	u = store.Usage{ID: worst[:maxText], APIID: worst, KeyID: worst, Method: worst, Path: worst, Error: worst, Route: worst, Node: worst}
	if line := encode(u); len(line) > readBytes/8 {
		t.Fatalf("a line has %d bytes", len(line))
	}
}

func TestEveryChangedByteIsDetected(t *testing.T) {
	line := encode(sample())
	line = line[:len(line)-1]
	for i := range line {
		for _, flip := range []byte{1, 0x20, 0x80} {
			bad := bytes.Clone(line)
			bad[i] ^= flip
			if got, _, err := decode(bad); err == nil && got != sample() {
				t.Fatalf("byte %d changed: %q is taken as %+v", i, bad, got)
			}
		}
		if _, _, err := decode(line[:i]); err == nil {
			t.Fatalf("%q is taken as a record", line[:i])
		}
	}
}

func TestRecordBehindATornOneIsFound(t *testing.T) {
	line := encode(sample())
	line = line[:len(line)-1]
	for i := range line {
		got, whole, err := decode(append(bytes.Clone(line[:i]), line...))
		if err != nil || got != sample() || whole != (i == 0) {
			t.Fatalf("behind %q: %+v, %v, %v", line[:i], got, whole, err)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("id", "/path\x00\xff", "GET", int64(1), int64(-5))
	f.Add("\"", "{\"id\":\"", "\n", int64(0), int64(1)<<62)
	f.Fuzz(func(t *testing.T, id, path, method string, in, at int64) {
		u := store.Usage{ID: cut(id, maxText), Path: path, Method: method, BytesIn: in, Time: time.UnixMicro(at)}
		line := encode(u)
		u.Path, u.Method = cut(path, maxPath), cut(method, maxText)
		got, whole, err := decode(line[:len(line)-1])
		if err != nil || !whole || got != u.Clean() {
			t.Fatalf("%q:\n got %+v, %v\nwant %+v", line, got, err, u.Clean())
		}
	})
}

func FuzzDecodeLine(f *testing.F) {
	f.Add(encode(sample()))
	f.Add([]byte("00000000 {\"id\":\"\"}"))
	f.Add([]byte(" {\"id\":\""))
	f.Fuzz(func(t *testing.T, line []byte) { _, _, _ = decode(line) })
}

func BenchmarkAppendLine(b *testing.B) {
	u, line := sample(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		line = appendLine(line[:0], &u)
	}
	b.ReportMetric(float64(len(line)), "B/line")
}

func BenchmarkDecodeLine(b *testing.B) {
	line := encode(sample())
	line = line[:len(line)-1]
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := decode(line); err != nil {
			b.Fatal(err)
		}
	}
}
