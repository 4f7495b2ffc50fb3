package usage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// bothWays runs a test with mapped files and with written ones.
func bothWays(t *testing.T, test func(t *testing.T, written bool)) {
	for name, written := range map[string]bool{"mapped": false, "written": true} {
		t.Run(name, func(t *testing.T) { test(t, written) })
	}
}

// mount mounts a file system for the time of a test.
func mount(t *testing.T, kind, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test mounts a file system: run it as root")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, kind, 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// current returns the segment that is added to, and whether that is by a mapping.
func current(j *Journal) (*segment, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.segments[len(j.segments)-1]
	return s, s.mapping.memory != nil
}

// mapped returns how many mappings of files below dir this process has.
func mapped(t *testing.T, dir string) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), dir)
}

func fileSize(t *testing.T, s *segment) int64 {
	t.Helper()
	info, err := s.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestFullDisk(t *testing.T) {
	for name, opts := range map[string]Options{"in a segment": {}, "at the next one": {SegmentBytes: 64 << 10}} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, written bool) {
				dir, s := mount(t, "tmpfs", "size=384k"), newSink()
				s.away = errAway
				j := startBy(t, dir, s, opts, written)
				n := 0
				var err error
				for ; err == nil; n++ {
					err = j.Record(record(n))
				}
				n--
				if !errors.Is(err, unix.ENOSPC) || j.Bytes() < 128<<10 {
					t.Fatalf("record %d after %d bytes: %v", n, j.Bytes(), err)
				}
				if err := j.Record(record(n)); !errors.Is(err, unix.ENOSPC) {
					t.Fatalf("once more: %v", err)
				}
				if err := unix.Mount("none", dir, "", unix.MS_REMOUNT, "size=4m"); err != nil {
					t.Fatal(err)
				}
				put(t, j, n, n+1000)
				s.setAway(nil)
				flush(t, j)
				s.has(t, n+1000)
				if j.Damaged() != 0 {
					t.Fatalf("%d damaged pieces", j.Damaged())
				}
			})
		})
	}
}

// TestFullDiskIsUsedUp: what cannot be reserved any more is still written to.
func TestFullDiskIsUsedUp(t *testing.T) {
	s := newSink()
	s.away = errAway
	j := start(t, mount(t, "tmpfs", "size=384k"), s, Options{})
	put(t, j, 0, 1)
	if _, isMapped := current(j); !isMapped {
		t.Fatal("not mapped at first")
	}
	n := 1
	for ; j.Record(record(n)) == nil; n++ {
	}
	if _, isMapped := current(j); isMapped || j.Bytes() < 380<<10 {
		t.Fatalf("full after %d bytes", j.Bytes())
	}
	s.setAway(nil)
	flush(t, j)
	s.has(t, n)
}

// TestWithoutFallocate is on a file system that has none.
func TestWithoutFallocate(t *testing.T) {
	s := newSink()
	j := start(t, mount(t, "ramfs", ""), s, Options{SegmentBytes: 4096})
	put(t, j, 0, 100)
	flush(t, j)
	s.has(t, 100)
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.written {
		t.Fatal("the next segment would be mapped again")
	}
}

func TestFileCutUnderTheMapping(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	s.away = errAway
	j := start(t, dir, s, Options{})
	put(t, j, 0, 3)
	if err := os.Truncate(files(t, dir)[0], 0); err != nil {
		t.Fatal(err)
	}
	put(t, j, 3, 100) // they are written
	if _, isMapped := current(j); isMapped {
		t.Fatal("still mapped")
	}
	s.setAway(nil)
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.records) != 97 || s.records[0] != record(3) || j.Damaged() != 1 {
		t.Fatalf("%d records, %d damaged pieces", len(s.records), j.Damaged())
	}
}

// TestNeitherWayWorks has a file that is too short, and cannot be written either.
func TestNeitherWayWorks(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	s.away = errAway
	j := start(t, dir, s, Options{})
	put(t, j, 0, 3)
	last, _ := current(j)
	working := last.file
	readOnly, err := os.Open(working.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	whole, err := os.ReadFile(working.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := working.Truncate(0); err != nil {
		t.Fatal(err)
	}
	swap := func(f *os.File) {
		j.mu.Lock()
		defer j.mu.Unlock()
		last.file = f
	}
	swap(readOnly)
	if err := j.Record(record(3)); !errors.Is(err, unix.EBADF) {
		t.Fatalf("got %v", err)
	}
	if b, err := last.read(t.Context(), new(readRoom), 10, false); err != nil || b.end != 0 || b.damaged != 0 {
		t.Fatalf("up to %d there is nothing, for good: %v", b.end, err)
	}
	swap(working)
	if err := os.WriteFile(working.Name(), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, j, 3, 6)
	s.setAway(nil)
	flush(t, j)
	s.has(t, 6)
}

func TestRecordBehindTheMappingIsWritten(t *testing.T) {
	s := newSink()
	s.away = errAway
	j := start(t, t.TempDir(), s, Options{})
	last, _ := current(j)
	j.mu.Lock()
	last.mapping.room = 1000
	j.mu.Unlock()
	put(t, j, 0, 100)
	if _, isMapped := current(j); isMapped {
		t.Fatal("still mapped")
	}
	s.setAway(nil)
	flush(t, j)
	s.has(t, 100)
}

func TestLongestRecordFitsIntoTheOverhang(t *testing.T) {
	if n := len(encode(longest())); n > overhang {
		t.Fatalf("%d bytes", n)
	}
}

func TestReservedRoom(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	s.away = errAway
	j := start(t, dir, s, Options{SegmentBytes: 1 << 20, MaxBytes: 8 << 20})
	first, _ := current(j)
	if n := fileSize(t, first); n != 0 {
		t.Fatalf("%d bytes are reserved for nobody", n)
	}
	put(t, j, 0, 1)
	if n := fileSize(t, first); n != reserveBytes {
		t.Fatalf("%d bytes are reserved for one record", n)
	}
	n := 1
	for now := first; now == first; n++ {
		put(t, j, n, n+1)
		now, _ = current(j)
	}
	if err := first.sync(); err != nil {
		t.Fatal(err)
	}
	if fileSize(t, first) != first.size.Load() || mapped(t, dir) != 1 {
		t.Fatalf("a sealed file has %d bytes for %d, %d mappings", fileSize(t, first), first.size.Load(), mapped(t, dir))
	}
	if err := j.Stop(t.Context()); !errors.Is(err, errAway) {
		t.Fatal(err)
	}
	for _, name := range files(t, dir) {
		text, err := os.ReadFile(name)
		if err != nil || len(text) == 0 || text[len(text)-1] == 0 {
			t.Fatalf("%s after Stop: %v, %d bytes", filepath.Base(name), err, len(text))
		}
	}
	if mapped(t, dir) != 0 {
		t.Fatal("mapped after Stop")
	}
	s.setAway(nil)
	j = start(t, dir, s, Options{})
	flush(t, j)
	s.has(t, n)
}

// TestRemovedSegmentsAreUnmapped: the deliverer may be earlier than the syncer.
func TestRemovedSegmentsAreUnmapped(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	j := start(t, dir, s, Options{SegmentBytes: 4096})
	put(t, j, 0, 1000)
	flush(t, j)
	if n := mapped(t, dir); n > 1 {
		t.Fatalf("%d mappings", n)
	}
	stop(t, j)
	if mapped(t, dir) != 0 {
		t.Fatal("mapped after Stop")
	}
}

// TestZerosOfAKilledProcess: its files end in what was reserved, which is neither damage nor counted as the journal's size.
func TestZerosOfAKilledProcess(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	var whole []byte
	for i := range 3 {
		whole = append(whole, encode(record(i))...)
	}
	torn := encode(record(99))[:50]
	for i, text := range [][]byte{whole, nil, torn} {
		text = append(bytes.Clone(text), make([]byte, reserveBytes+2*readBytes)...)
		if err := os.WriteFile(filepath.Join(dir, segmentName(i+1)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.away = errAway
	j := start(t, dir, s, Options{})
	if j.Bytes() != int64(len(whole)+len(torn)) || j.Pending() != 3 {
		t.Fatalf("%d bytes, %d records", j.Bytes(), j.Pending())
	}
	if err := j.Stop(t.Context()); !errors.Is(err, errAway) {
		t.Fatal(err)
	}
	if left, err := os.ReadFile(filepath.Join(dir, segmentName(1))); err != nil || !bytes.Equal(left, whole) {
		t.Fatalf("%d bytes are left of %d, %v", len(left), len(whole), err)
	}
	s.setAway(nil)
	j = start(t, dir, s, Options{})
	flush(t, j)
	s.has(t, 3)
	if j.Damaged() != 1 {
		t.Fatalf("%d damaged pieces", j.Damaged())
	}
}

// TestTornCopies has the process end within the copy of a record: any part of it may be there, also the end without the
// beginning.
func TestTornCopies(t *testing.T) {
	before, torn := encode(record(0)), encode(record(99))
	for at := 1; at < len(torn); at++ {
		for _, part := range [][]byte{torn[:at], append(make([]byte, at), torn[at:]...)} {
			s := &segment{}
			f, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			all := append(append(bytes.Clone(before), part...), make([]byte, 1000)...)
			if _, err := f.Write(all); err != nil {
				t.Fatal(err)
			}
			s.file = f
			s.size.Store(int64(len(all)))
			if _, err := s.count(); err != nil {
				t.Fatal(err)
			}
			b, err := s.read(t.Context(), new(readRoom), 10, true)
			if err != nil || len(b.records) != 1 || b.damaged != 1 || b.more {
				t.Fatalf("%q: %d records, %d damaged, %v", part, len(b.records), b.damaged, err)
			}
			f.Close()
		}
	}
}
