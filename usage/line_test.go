package usage

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"apibuilder/store"
)

// line is how a program from before decision 64 wrote u.
func line(u store.Usage) string {
	text, err := json.Marshal(entry{
		ID: u.ID, API: u.APIID, Version: u.Version, Key: u.KeyID, Time: u.Time.UnixMicro(), Method: u.Method, Path: u.Path, Route: u.Route,
		Node: u.Node, Status: u.Status, Error: u.Error, In: u.BytesIn, Out: u.BytesOut, Duration: u.Duration.Microseconds(),
		StartWait: u.StartWait.Microseconds(), CPU: u.CPU.Microseconds(),
	})
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%08x %s\n", crc32.Checksum(text, castagnoli), text)
}

// writtenBefore is what such a program wrote, byte for byte.
const writtenBefore = `a8d1eeda {"id":"req_q3f5abcdefghijkl","api":"api_q3f5abcdefghijkl","version":3,"key":"key_q3f5abcdefghijkl","time":1767323045000001,"method":"POST","path":"/resize/picture.png","route":"/resize/{name}","node":"node-1","status":200,"in":123456,"out":65432,"duration":15300,"start_wait":4,"cpu":1200}
`

func TestLinesOfBeforeAreDelivered(t *testing.T) {
	odd := record(1)
	odd.Path = "/\"{\x1e\n é"
	all := line(record(0)) + line(odd) + line(record(2))
	for name, c := range map[string]struct {
		text    string
		want    []store.Usage
		damaged int64
	}{
		"as they were written": {writtenBefore, []store.Usage{sample()}, 0},
		"whole":                {all, []store.Usage{record(0), odd, record(2)}, 0},
		"with room for more":   {all + strings.Repeat("\x00", 4096), []store.Usage{record(0), odd, record(2)}, 0},
		"torn":                 {all[:len(all)-5], []store.Usage{record(0), odd}, 1},
		"changed":              {strings.Replace(all, "POST", "PUST", 1), []store.Usage{odd, record(2)}, 1},
		"garbage before one":   {"\n\xff" + all, []store.Usage{record(0), odd, record(2)}, 1},
		"many":                 {strings.Repeat(line(record(0)), 2*readBytes/len(line(record(0)))) + all, []store.Usage{record(0), odd, record(2)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := t.TempDir(), newSink()
			if err := os.WriteFile(filepath.Join(dir, segmentName(7)), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s.away = errAway
			j := start(t, dir, s, Options{})
			if n := strings.Count(c.text, "\n"); j.Pending() != int64(len(c.want)) && j.Pending() != int64(n) {
				t.Errorf("%d records wait", j.Pending())
			}
			put(t, j, 3, 4)
			s.setAway(nil)
			flush(t, j)
			if got := s.records; len(got) != len(c.want)+1 || got[len(got)-1] != record(3) {
				t.Fatalf("%+v", got)
			}
			for i, want := range c.want {
				if s.records[i] != want {
					t.Errorf("%+v, want %+v", s.records[i], want)
				}
			}
			if j.Damaged() != c.damaged {
				t.Errorf("%d damaged pieces, want %d", j.Damaged(), c.damaged)
			}
		})
	}
}
