package usage

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"apibuilder/store"
)

// decode reads a record that is all of b.
func decode(b []byte) (store.Usage, error) {
	if len(b) == 0 || wholeRecord(b) != len(b) {
		return store.Usage{}, errRecord
	}
	return decodeRecord(b, string(b), &store.Usage{})
}

func sample() store.Usage {
	return store.Usage{
		ID: "req_q3f5abcdefghijkl", APIID: "api_q3f5abcdefghijkl", Version: 3, KeyID: "key_q3f5abcdefghijkl",
		Time: time.UnixMicro(1767323045000001).UTC(), Method: "POST", Path: "/resize/picture.png", Status: 200,
		BytesIn: 123456, BytesOut: 65432, Duration: 15300 * time.Microsecond, StartWait: 4 * time.Microsecond,
		Route: "/resize/{name}", Node: "node-1", CPU: 1200 * time.Microsecond,
	}
}

func encode(u store.Usage) []byte {
	return appendRecord(nil, &u)
}

func TestRecordRoundTrip(t *testing.T) {
	negative := sample()
	negative.BytesIn, negative.Duration, negative.Time = -1, -time.Second, time.Time{}
	odd := sample()
	odd.Path, odd.Error = "/\"\\\n\x01\x1e\u2028é\U0001F600\x7f\x1e", "crashed"
	largest := sample()
	largest.BytesIn, largest.BytesOut, largest.Duration = math.MaxInt64, math.MinInt64, math.MaxInt64
	for _, u := range []store.Usage{sample(), negative, odd, largest, {ID: "x"}, {ID: strings.Repeat("\x1e", maxText)}} {
		record := encode(u)
		if record[0] != recordStart || bytes.Count(record[headBytes:], []byte{recordStart}) > bytes.Count(encode(store.Usage{ID: "x"})[headBytes:], []byte{recordStart}) {
			t.Fatalf("%q: another record may be seen in it", record)
		}
		got, err := decode(record)
		if err != nil || got != u.Clean() {
			t.Fatalf("%q:\n got %+v, %v\nwant %+v", record, got, err, u.Clean())
		}
	}
}

func TestTextIsCleanedAndCut(t *testing.T) {
	u := store.Usage{ID: "x", Path: strings.Repeat("é", 1<<20), Method: strings.Repeat("M", 1000), Error: "a\x00\xff"}
	got, err := decode(encode(u))
	if err != nil || len(got.Path) != maxPath || len(got.Method) != maxText || got.Error != "a\uFFFD\uFFFD" {
		t.Fatalf("%d, %d, %q, %v", len(got.Path), len(got.Method), got.Error, err)
	}
	// Neither is UTF-8, and together they are.
	got, err = decode(encode(store.Usage{ID: "x", APIID: "\xc3", KeyID: "\xa9"}))
	if err != nil || got.APIID != "\uFFFD" || got.KeyID != "\uFFFD" {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := len(encode(longest())); n >= longestRecord {
		t.Fatalf("a record has %d bytes", n)
	}
}

// longest is the record that takes the most bytes.
func longest() store.Usage {
	worst := strings.Repeat("\xff\x00", 1<<16)
	return store.Usage{
		ID: worst[:maxText], APIID: worst, KeyID: worst, Method: worst, Path: worst, Error: worst, Route: worst, Node: worst, Version: math.MinInt,
		Time: time.UnixMicro(math.MinInt64), Status: math.MinInt, BytesIn: math.MinInt64, BytesOut: math.MinInt64, Duration: math.MinInt64,
		StartWait: math.MinInt64, CPU: math.MinInt64,
	}
}

// TestShortestRecord of a gateway: the store knows the ids of the last 65,536 records, and a file that goes on beyond its end must have no more.
func TestShortestRecord(t *testing.T) {
	n := len(encode(store.Usage{ID: "019aa6c5-7a52-7c2f-8b0d-3f8f0b8f3c11", APIID: "a", Time: time.UnixMicro(1767323045000001), Method: "GET", Path: "/", Status: 200}))
	if most := mostOverdue*DefaultSegmentBytes/n + DefaultBatchRecords; most > 1<<16 {
		t.Fatalf("%d records of %d bytes may be sent again", most, n)
	}
}

func TestPlain(t *testing.T) {
	for c := range 256 {
		for at := range 17 {
			text := bytes.Repeat([]byte{'~'}, 17)
			text[at] = byte(c)
			if want := c >= ' ' && c < 0x80; isPlain(text) != want {
				t.Fatalf("%q: not %v", text, want)
			}
		}
	}
}

func TestEveryChangedByteIsDetected(t *testing.T) {
	record := encode(sample())
	for i := range record {
		for _, flip := range []byte{1, 0x20, 0x80} {
			bad := bytes.Clone(record)
			bad[i] ^= flip
			if got, err := decode(bad); err == nil {
				t.Fatalf("byte %d changed: %q is taken as %+v", i, bad, got)
			}
		}
		if got, err := decode(record[:i]); err == nil {
			t.Fatalf("%q is taken as %+v", record[:i], got)
		}
	}
}

func TestRecordBehindATornOneIsFound(t *testing.T) {
	record := encode(sample())
	for i := range record {
		var found []int
		done, damaged := eachRecord(append(bytes.Clone(record[:i]), record...), true, func(from, _ int) bool {
			found = append(found, from)
			return true
		})
		if len(found) != 1 || found[0] != i || done != i+len(record) || damaged != int64(min(i, 1)) {
			t.Fatalf("behind %q: %v, %d, %d", record[:i], found, done, damaged)
		}
	}
}

// TestNobodyForgesARecord has texts of a consumer and an author with what would be records, where the one that they are part of is damaged.
func TestNobodyForgesARecord(t *testing.T) {
	forged := encode(store.Usage{ID: "forged"})
	for _, text := range []string{string(forged), "\n" + string(forged) + "\n", "\n" + line(store.Usage{ID: "forged"})} {
		u := sample()
		u.Path, u.Route = text, text
		damaged := encode(u)
		damaged[1] ^= 1
		for what, b := range map[string][]byte{"alone": damaged, "before another": append(bytes.Clone(damaged), encode(sample())...)} {
			_, _ = eachRecord(b, true, func(from, to int) bool {
				if got, err := decode(b[from:to]); err != nil || got != sample() {
					t.Errorf("%s, %q: %+v, %v", what, text, got, err)
				}
				return true
			})
		}
	}
}

// TestTextsAreShared: what one record after the other has is one string for all that comes behind.
func TestTextsAreShared(t *testing.T) {
	first, second := encode(sample()), encode(sample())
	u, err := decode(first)
	if err != nil {
		t.Fatal(err)
	}
	next, err := decodeRecord(second, string(second), &u)
	if err != nil || next != u {
		t.Fatalf("%+v, %v", next, err)
	}
	for _, texts := range [][2]string{
		{u.APIID, next.APIID}, {u.KeyID, next.KeyID}, {u.Method, next.Method}, {u.Path, next.Path}, {u.Route, next.Route}, {u.Node, next.Node},
	} {
		if unsafe.StringData(texts[0]) != unsafe.StringData(texts[1]) {
			t.Errorf("%q is there twice", texts[0])
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("id", "/path\x00\xff", "GET", int64(1), int64(-5))
	f.Add("\x1e", "\x1e\n\x00", "\n", int64(0), int64(1)<<62)
	f.Fuzz(func(t *testing.T, id, path, method string, in, at int64) {
		u := store.Usage{ID: cut("i"+id, maxText), Path: path, Method: method, BytesIn: in, Time: time.UnixMicro(at)}
		record := encode(u)
		u.Path, u.Method = cut(path, maxPath), cut(method, maxText)
		got, err := decode(record)
		if err != nil || got != u.Clean() {
			t.Fatalf("%q:\n got %+v, %v\nwant %+v", record, got, err, u.Clean())
		}
	})
}

// FuzzDecodeRecord has bodies with a sum that is right, and whole files.
func FuzzDecodeRecord(f *testing.F) {
	f.Add(encode(sample())[headBytes:])
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\n"))
	f.Add([]byte(line(sample())))
	f.Fuzz(func(t *testing.T, body []byte) {
		body = body[:min(len(body), longestRecord)]
		record := append(make([]byte, headBytes), body...)
		record[0] = recordStart
		seal(record)
		if u, err := decode(record); err == nil && (u.ID == "" || !u.IsClean(&store.Usage{}) && u == u.Clean()) {
			t.Fatalf("%q: %+v", record, u)
		}
		for _, last := range []bool{true, false} {
			from := 0
			done, _ := eachRecord(body, last, func(at, to int) bool {
				if at < from || to <= at || to > len(body) {
					t.Fatalf("a record from %d to %d of %d", at, to, len(body))
				}
				from = to
				_, _ = decodeRecord(body[at:to], string(body[at:to]), &store.Usage{})
				return true
			})
			if done < from || done > len(body) || last && done != len(body) {
				t.Fatalf("%d of %d bytes", done, len(body))
			}
		}
	})
}

func BenchmarkAppendRecord(b *testing.B) {
	u, record := sample(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		record = appendRecord(record[:0], &u)
	}
	b.ReportMetric(float64(len(record)), "B/record")
}

func BenchmarkDecodeRecord(b *testing.B) {
	record := encode(sample())
	text := string(record)
	u := sample()
	b.ReportAllocs()
	for b.Loop() {
		if wholeRecord(record) != len(record) {
			b.Fatal("no record")
		}
		if _, err := decodeRecord(record, text, &u); err != nil {
			b.Fatal(err)
		}
	}
}
