package usage

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/store"
	"apibuilder/store/sqlite"
)

// awaySink never takes anything.
type awaySink struct{}

func (awaySink) AddUsage(context.Context, []store.Usage) error { return errAway }

// child records until it is killed, and prints each id after its Record has returned. It ends by itself only when the
// parent has closed its standard input.
func child(dir string) {
	var s Sink = awaySink{}
	if os.Getenv("USAGE_TEST_SINK") == "sqlite" {
		db, err := sqlite.Open(context.Background(), filepath.Join(dir, "apibuilder.db"))
		if err != nil {
			panic(err)
		}
		s = db
	}
	j, err := Open(filepath.Join(dir, "usage"), s, Options{SegmentBytes: 32 << 10})
	if err != nil {
		panic(err)
	}
	j.written = os.Getenv("USAGE_TEST_WRITTEN") != ""
	if err := j.Start(context.Background()); err != nil {
		panic(err)
	}
	for range 4 {
		go func() {
			for {
				u := sample()
				u.ID = store.NewID("req")
				if err := j.Record(u); err != nil {
					panic(err)
				}
				fmt.Println(u.ID)
			}
		}()
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// killChild runs a child until it has printed many ids, kills it and returns them all.
func killChild(t *testing.T, dir, sink, written string, after int) (ids []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "USAGE_TEST_CHILD="+dir, "USAGE_TEST_SINK="+sink, "USAGE_TEST_WRITTEN="+written)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(stdout)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break // at the end a line may be cut
		}
		ids = append(ids, strings.TrimSpace(line))
		if len(ids) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if len(ids) < after {
		t.Fatalf("the child ended after %d records: %s", len(ids), stderr.String())
	}
	return ids
}

func TestKilledProcessLosesNothing(t *testing.T) {
	for _, c := range []struct{ name, sink, written string }{
		{"none", "none", ""},
		{"sqlite", "sqlite", ""},
		{"none, written", "none", "yes"},
		{"sqlite, written", "sqlite", "yes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			printed := map[string]bool{}
			for _, after := range []int{1, 700, 3000} {
				for _, id := range killChild(t, dir, c.sink, c.written, after) {
					printed[id] = true
				}
			}
			db, err := sqlite.Open(t.Context(), filepath.Join(dir, "apibuilder.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			j := start(t, filepath.Join(dir, "usage"), db, Options{})
			flush(t, j)
			stop(t, j)
			stored, err := db.Usage(t.Context(), store.UsageFilter{Limit: 10_000_000})
			if err != nil {
				t.Fatal(err)
			}
			times := map[string]int{}
			for _, u := range stored {
				times[u.ID]++
				id := u.ID
				if u.ID = sample().ID; u != sample() {
					t.Fatalf("%s came back as %+v", id, u)
				}
			}
			for id := range printed {
				if times[id] != 1 {
					t.Fatalf("%s was acknowledged and is stored %d times (%d stored, %d acknowledged)",
						id, times[id], len(stored), len(printed))
				}
			}
			if j.Damaged() > 3 {
				t.Fatalf("%d damaged pieces of three processes that were killed", j.Damaged())
			}
			// Each kill may have found records that were written and not yet printed, at most one a goroutine and what
			// the pipe held.
			t.Logf("%d acknowledged, %d stored, %d damaged pieces", len(printed), len(stored), j.Damaged())
		})
	}
}

func TestDamagedSegments(t *testing.T) {
	whole := func(n int) string { return string(encode(record(n))) }
	torn := whole(99)[:60]
	flipped := strings.Replace(whole(99), "POST", "PUST", 1)
	const some = -1
	for name, c := range map[string]struct {
		text    string
		damaged int64
	}{
		"torn last record":          {whole(0) + whole(1) + whole(2) + torn, 1},
		"torn to one byte":          {whole(0) + whole(1) + whole(2) + "\x1e", 1},
		"torn at its last byte":     {whole(0) + whole(1) + whole(2) + whole(99)[:len(whole(99))-1], 1},
		"torn in the middle":        {whole(0) + torn + whole(1) + whole(2), 1},
		"torn, then a newline":      {whole(0) + torn + "\n" + whole(1) + whole(2), 1},
		"changed":                   {whole(0) + flipped + whole(1) + whole(2), 1},
		"single bytes":              {whole(0) + "\n" + whole(1) + whole(2) + "\x1e", 2},
		"zeros in the middle":       {whole(0) + strings.Repeat("\x00", 4096) + whole(1) + whole(2), 1},
		"zeros at the end":          {whole(0) + whole(1) + whole(2) + strings.Repeat("\x00", 4096), 0},
		"many zeros at the end":     {whole(0) + whole(1) + whole(2) + strings.Repeat("\x00", 3*readBytes), 0},
		"torn, then zeros":          {whole(0) + whole(1) + whole(2) + torn + strings.Repeat("\x00", 4096), 1},
		"a newline, then zeros":     {whole(0) + whole(1) + whole(2) + "\n" + strings.Repeat("\x00", 4096), 1},
		"garbage larger than reads": {strings.Repeat("x", 3*readBytes) + whole(0) + whole(1) + whole(2), 4},
		"garbage up to the end of a read, less a part of a record": {strings.Repeat("x", readBytes-50) + whole(0) + whole(1) + whole(2), 2},
		"only garbage": {whole(0) + whole(1) + whole(2) + strings.Repeat("\xff", 2*readBytes+5), some},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := t.TempDir(), newSink()
			if err := os.WriteFile(filepath.Join(dir, segmentName(7)), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, stray := range []string{"usage-1.log", "usage-00000001.log.bak", "notes"} {
				if err := os.WriteFile(filepath.Join(dir, stray), []byte("stray"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			j := start(t, dir, s, Options{})
			put(t, j, 3, 4)
			flush(t, j)
			s.has(t, 4)
			if c.damaged == some && j.Damaged() == 0 || c.damaged != some && j.Damaged() != c.damaged {
				t.Fatalf("%d damaged pieces, want %d", j.Damaged(), c.damaged)
			}
			stop(t, j)
			if left := files(t, dir); len(left) != 1 || filepath.Base(left[0]) != "usage-1.log" {
				t.Fatalf("left behind: %v", left)
			}
		})
	}
}

func TestSegmentCutWhileInUse(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	s.away = errAway
	j := start(t, dir, s, Options{SegmentBytes: 2048})
	put(t, j, 0, 100)
	if err := os.Truncate(files(t, dir)[1], 100); err != nil {
		t.Fatal(err)
	}
	s.setAway(nil)
	flush(t, j)
	if n := len(s.records); n < 80 || n >= 100 || j.Damaged() == 0 {
		t.Fatalf("%d records, %d damaged", n, j.Damaged())
	}
}

// TestTheNameOfASegmentIsSyncedUntilItIs has the directory of a segment where fsync(2) is refused, by its name alone.
func TestTheNameOfASegmentIsSyncedUntilItIs(t *testing.T) {
	dir := t.TempDir()
	s, err := createSegment(dir, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	there := s.file
	defer there.Close()
	fd, err := syscall.Dup(int(there.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := os.NewFile(uintptr(fd), "/proc/self/"+segmentName(1))
	defer elsewhere.Close()
	s.file = elsewhere
	for range 2 {
		if err := s.sync(); err == nil {
			t.Error("the segment may be gone after a power loss, and nobody is told")
		}
	}
	s.file = there
	if err := s.sync(); err != nil || !s.named.Load() {
		t.Errorf("%v, %v", s.named.Load(), err)
	}
}

// TestASegmentThatCannotBeRemovedIsEmptied has one with a name of /proc, where nothing is removed.
func TestASegmentThatCannotBeRemovedIsEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), segmentName(1))
	if err := os.WriteFile(path, encode(record(0)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	s := &segment{file: os.NewFile(uintptr(fd), "/proc/self/comm")}
	if err := s.remove(); err == nil {
		t.Error("nobody is told")
	}
	if left, err := os.ReadFile(path); err != nil || len(left) > 0 {
		t.Errorf("%d bytes would be delivered again, %v", len(left), err)
	}
}

// TestWhatAKilledProcessLeftIsSynced by the next one: nobody has synced its last moments.
func TestWhatAKilledProcessLeftIsSynced(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	s.away = errAway
	if err := os.WriteFile(filepath.Join(dir, segmentName(1)), encode(record(0)), 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := openSegments(dir)
	if err != nil || len(left) != 1 {
		t.Fatalf("%d segments, %v", len(left), err)
	}
	defer left[0].file.Close()
	if !left[0].dirty.Load() {
		t.Error("it is taken for synced")
	}
}

// TestASegmentThatCannotBeReadKeepsNothingBack has the descriptor of one only write, in the place of a disk that fails.
func TestASegmentThatCannotBeReadKeepsNothingBack(t *testing.T) {
	for name, size := range map[string]int64{"an old one": 4096, "the newest one": DefaultSegmentBytes} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, s := t.TempDir(), newSink()
				s.away = errAway
				j := start(t, dir, s, Options{SegmentBytes: size})
				put(t, j, 0, 50) // few enough to be read without a break
				synctest.Wait()
				j.mu.Lock()
				first := j.segments[0]
				lost := int(first.waiting.Load())
				path := first.file.Name()
				writes, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				reads := first.file
				first.file = writes
				j.mu.Unlock()
				defer reads.Close()
				s.setAway(nil)
				time.Sleep(unreadableFor / 2)
				if _, err := os.Stat(path); err != nil {
					t.Errorf("it is not tried for long: %v", err)
				}
				time.Sleep(unreadableFor)
				put(t, j, 50, 60)
				flush(t, j)
				if len(s.records) != 60-lost || s.records[0] != record(lost) && lost < 50 || j.Damaged() != 0 {
					t.Errorf("%d records are delivered, %d are in the file that cannot be read", len(s.records), lost)
				}
				names, _ := filepath.Glob(path + ".*" + setAsideAs)
				if len(names) != 1 {
					t.Fatalf("what cannot be read is kept as %q", names)
				}
				if kept, err := os.ReadFile(names[0]); err != nil || recordsIn(kept) != lost {
					t.Errorf("what cannot be read is not kept: %v", err)
				}
				stop(t, j)
			})
		})
	}
}

func recordsIn(b []byte) (n int) {
	_, _ = eachRecord(b, true, func(int, int) bool {
		n++
		return true
	})
	return n
}
