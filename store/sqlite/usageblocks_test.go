package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"apibuilder/pace"
	"apibuilder/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// numbered is a record that differs from others in everything, with an id as the gateway makes them for every second one.
func numbered(n int, at time.Time) store.Usage {
	u := store.Usage{
		ID: fmt.Sprintf("req %d", n), APIID: fmt.Sprintf("api_%d", n%3), Version: n % 5, KeyID: []string{"", "key_1", "key_2"}[n%7%3], Time: at,
		Method: "GET", Path: fmt.Sprintf("/items/%d", n%11), Route: "/items/{id}", Node: "node", Status: 200 + n%300, Error: strings.Repeat("e", n%2),
		BytesIn: int64(n), BytesOut: int64(n) << 40, Duration: time.Duration(n) * time.Millisecond, StartWait: time.Duration(n%2) * time.Second,
		CPU: time.Duration(n) * time.Microsecond,
	}
	if n%2 == 0 {
		u.ID = requestID(at)
	}
	return u
}

func usageOf(t *testing.T, s *Store, f store.UsageFilter) []store.Usage {
	t.Helper()
	all, err := s.Usage(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func count(t *testing.T, s *Store, query string) (n int) {
	t.Helper()
	if err := s.reader.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// loose puts a record where those of before there were blocks are, and those of a backup.
func loose(t *testing.T, s *Store, u store.Usage) {
	t.Helper()
	c := usageCells(&u)
	columns := strings.Split(strings.Join(strings.Fields(usageColumns), ""), ",")
	args := make([]any, len(columns))
	for i, column := range columns {
		args[i] = c[column]
	}
	if _, err := s.writer.Exec(`INSERT INTO usage (`+usageColumns+`) VALUES (?`+strings.Repeat(", ?", len(columns)-1)+`)`, args...); err != nil {
		t.Fatal(err)
	}
}

// TestUsageIsWhatWasStored compares the store with a list through batches that are sent again, in part and by another process too,
// reopening, pruning and all filters.
func TestUsageIsWhatWasStored(t *testing.T) {
	template := filepath.Join(t.TempDir(), "apibuilder.db")
	if err := openAt(t, template).Close(); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		path := filepath.Join(t.TempDir(), "apibuilder.db")
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			r.Fatal(err)
		}
		all := [2]*Store{openAt(t, path), openAt(t, path)}
		var model []store.Usage
		n := 0
		one := func(r *rapid.T) *Store { return all[rapid.IntRange(0, 1).Draw(r, "process")] }
		when := func(r *rapid.T) time.Time {
			return noon.Add(time.Duration(rapid.IntRange(0, 600).Draw(r, "second")) * time.Second)
		}
		next := func(r *rapid.T) store.Usage {
			n++
			return numbered(n, when(r))
		}
		for range rapid.IntRange(0, 3).Draw(r, "old records") {
			u := next(r)
			loose(t, all[0], u)
			model = append(model, u)
		}
		r.Repeat(map[string]func(*rapid.T){
			"add": func(r *rapid.T) {
				var batch []store.Usage
				for range rapid.SampledFrom([]int{1, 1, 2, 60, 130}).Draw(r, "records") {
					batch = append(batch, next(r))
				}
				again := rapid.IntRange(0, min(len(model), 5)).Draw(r, "again")
				if err := one(r).AddUsage(pace.Patient(t.Context()), slices.Concat(model[len(model)-again:], batch)); err != nil {
					r.Fatal(err)
				}
				model = append(model, batch...)
			},
			"reopen": func(*rapid.T) {
				if err := all[0].Close(); err != nil {
					r.Fatal(err)
				}
				all[0] = openAt(t, path)
			},
			"prune": func(r *rapid.T) {
				before, most := when(r), rapid.SampledFrom([]int{1, 50, 10000}).Draw(r, "most")
				gone, err := one(r).PruneUsage(t.Context(), before, time.Time{}, most)
				old := func(u store.Usage) bool { return u.Time.Before(before) }
				want := 0
				for _, u := range model {
					if old(u) {
						want++
					}
				}
				if err != nil || gone != int64(min(want, most)) {
					r.Fatalf("%d of %d records were removed, of which %d may be: %v", gone, want, most, err)
				}
				if want <= most {
					model = slices.DeleteFunc(model, old)
					return
				}
				left, err := all[0].Usage(t.Context(), store.UsageFilter{Limit: len(model) + 1})
				if err != nil || len(left) != len(model)-int(gone) {
					r.Fatalf("%d records are left of %d without %d: %v", len(left), len(model), gone, err)
				}
				model = slices.DeleteFunc(model, func(u store.Usage) bool {
					there := slices.ContainsFunc(left, func(l store.Usage) bool { return l.ID == u.ID })
					if !there && !old(u) {
						r.Fatalf("%s is gone, which is not from before %s", u.Time, before)
					}
					return !there
				})
			},
			"": func(r *rapid.T) {
				f := store.UsageFilter{Limit: rapid.SampledFrom([]int{1, 7, 5000}).Draw(r, "limit")}
				f.APIID = rapid.SampledFrom([]string{"", "", "api_1", "api_2", "api_9"}).Draw(r, "api")
				f.KeyID = rapid.SampledFrom([]string{"", "", "key_1"}).Draw(r, "key")
				if rapid.Bool().Draw(r, "bounded") {
					f.Since, f.Until = when(r), when(r)
				}
				if len(model) > 0 {
					u := rapid.SampledFrom(model).Draw(r, "record")
					switch rapid.IntRange(0, 3).Draw(r, "position") {
					case 0:
						f.Before = store.Position{At: u.Time, ID: u.ID}
					case 1:
						f.ID = u.ID
					}
				}
				got, err := one(r).Usage(t.Context(), f)
				if want := selected(model, f); err != nil || !slices.EqualFunc(got, want, func(a, b store.Usage) bool { return reflect.DeepEqual(a, b) }) {
					r.Fatalf("%+v: %d records, %d are right; %v\n%+v\n%+v", f, len(got), len(want), err, got, want)
				}
			},
		})
		for _, s := range all {
			if err := s.Close(); err != nil {
				r.Fatal(err)
			}
		}
	})
}

// selected is what Usage is to return.
func selected(all []store.Usage, f store.UsageFilter) (found []store.Usage) {
	for _, u := range all {
		before := f.Before == (store.Position{}) || u.Time.Before(f.Before.At) || u.Time.Equal(f.Before.At) && u.ID < f.Before.ID
		if before && (f.APIID == "" || f.APIID == u.APIID) && (f.KeyID == "" || f.KeyID == u.KeyID) && (f.ID == "" || f.ID == u.ID) &&
			(f.Since.IsZero() || !u.Time.Before(f.Since)) && (f.Until.IsZero() || u.Time.Before(f.Until)) {
			found = append(found, u)
		}
	}
	slices.SortFunc(found, func(a, b store.Usage) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return found[:min(len(found), f.Limit)]
}

func TestFewRecordsFillABlock(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apibuilder.db"))
	for i := range 2*filledRecords + 1 {
		if err := s.AddUsage(t.Context(), []store.Usage{numbered(i, noon)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, s, "SELECT count(*) FROM usage_blocks"); n != 3 {
		t.Errorf("%d blocks", n)
	}
	if n := count(t, s, "SELECT count(*) FROM usage_block_names"); n > 3*5 {
		t.Errorf("%d names of three APIs and two keys in three blocks", n)
	}
	if n := len(usageOf(t, s, store.UsageFilter{Limit: 1000})); n != 2*filledRecords+1 {
		t.Errorf("%d records", n)
	}
}

// TestAJournalSendsAgain has a whole file of a journal sent again by the process that comes after, with what that has itself.
func TestAJournalSendsAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apibuilder.db")
	batch := make([]store.Usage, 2048)
	send := func(s *Store, from, to int) {
		t.Helper()
		for n := from; n < to; n += len(batch) {
			for i := range batch {
				batch[i] = numbered(2*(n+i)+1, noon)
			}
			if err := s.AddUsage(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
	}
	const records = 30 * 2048 // of a journal's file of twice 2 MiB, whose records have at least 70 bytes
	first := openAt(t, path)
	send(first, 0, records)
	second := openAt(t, path)
	send(second, 0, records)
	send(first, records, 2*records)
	send(second, records, 2*records)
	send(first, records, 2*records)
	if n := count(t, first, "SELECT sum(records) FROM usage_blocks"); n != 2*records {
		t.Errorf("%d records are stored, want %d", n, 2*records)
	}
	sums, err := first.SumUsage(t.Context(), store.SumFilter{})
	if err != nil || store.Requests(sums) != 2*records {
		t.Errorf("sums are %+v, %v", sums, err)
	}
}

// TestABatchThatFailedIsNew has a disk that is full between two deliveries.
func TestABatchThatFailedIsNew(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apibuilder.db"))
	batch := make([]store.Usage, 2048)
	for i := range batch {
		batch[i] = numbered(i, noon)
	}
	if _, err := s.writer.Exec("PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddUsage(t.Context(), batch); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error is %v", err)
	}
	if _, err := s.writer.Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.AddUsage(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, s, "SELECT sum(records) FROM usage_blocks"); n != len(batch) {
		t.Errorf("%d records", n)
	}
}

// TestABlockThatCannotBeRead keeps nothing else from being stored, and goes with its time.
func TestABlockThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apibuilder.db")
	s := openAt(t, path)
	add := func(s *Store, n int) {
		t.Helper()
		if err := s.AddUsage(t.Context(), []store.Usage{numbered(n, noon.Add(time.Duration(n)*time.Second))}); err != nil {
			t.Fatal(err)
		}
	}
	add(s, 1)
	if _, err := s.writer.Exec("UPDATE usage_blocks SET data = x'01ff'"); err != nil {
		t.Fatal(err)
	}
	add(s, 3)
	again := openAt(t, path)
	add(again, 5)
	if _, err := again.Usage(t.Context(), store.UsageFilter{}); err == nil || !strings.Contains(err.Error(), "usage block 1") {
		t.Errorf("error is %v", err)
	}
	if n, err := again.PruneUsage(t.Context(), noon.Add(2*time.Second), time.Time{}, 100); n != 0 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if n := len(usageOf(t, again, store.UsageFilter{})); n != 2 {
		t.Errorf("%d records", n)
	}
	if n := count(t, s, "SELECT count(*) FROM usage_block_names WHERE block NOT IN (SELECT seq FROM usage_blocks)"); n != 0 {
		t.Errorf("%d names of blocks that are gone", n)
	}
}

func FuzzReadBlock(f *testing.F) {
	records := make([]store.Usage, 40)
	for i := range records {
		records[i] = numbered(i, noon.Add(-time.Duration(i)*time.Hour))
	}
	f.Add(appendBlock(f.Context(), nil, records))
	f.Add(appendBlock(f.Context(), nil, nil))
	f.Add(appendBlock(f.Context(), nil, []store.Usage{{Time: time.UnixMicro(0).UTC()}}))
	f.Add([]byte{1, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := readBlock(data)
		if err != nil {
			if !errors.Is(err, errBlock) {
				t.Fatal(err)
			}
			return
		}
		again, err := readBlock(appendBlock(t.Context(), nil, records))
		if err != nil || !reflect.DeepEqual(again, records) {
			t.Fatalf("%v\n%+v\n%+v", err, records, again)
		}
	})
}

func TestUUIDs(t *testing.T) {
	for text, is := range map[string]bool{
		"0198c0de-0000-7000-8000-00000000ffff": true,
		"0198C0DE-0000-7000-8000-00000000ffff": false, // would come back in small letters
		"0198c0de-0000-7000-8000-00000000fffg": false,
		"0198c0de+0000-7000-8000-00000000ffff": false,
		"0198c0de-0000-7000-8000-00000000fff":  false,
		"":                                     false,
	} {
		uuid, ok := parseUUID(text)
		if ok != is || ok && formatUUID(uuid[:]) != text {
			t.Errorf("%q: %v, %x", text, ok, uuid)
		}
	}
	at := time.UnixMilli(1767323045123)
	if got, ok := timeOfID(requestID(at)); !ok || !got.Equal(at) {
		t.Errorf("time is %v, want %v", got, at)
	}
	if _, ok := timeOfID("0198c0de-0000-4000-8000-00000000ffff"); ok {
		t.Error("an id of version 4 has a time")
	}
}

// TestTheNewestAreKnown has a process that comes new to far more records than it keeps the ids of, in blocks of a size that does not
// divide that.
func TestTheNewestAreKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apibuilder.db")
	first := openAt(t, path)
	batch := make([]store.Usage, 1500)
	send := func(s *Store, number int) {
		t.Helper()
		for i := range batch {
			batch[i] = numbered(2*(number*len(batch)+i)+1, noon)
		}
		if err := s.AddUsage(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	const batches = 3*keptSeen/1500 + 1
	for number := range batches {
		send(first, number)
	}
	second := openAt(t, path)
	for number := batches - keptSeen/len(batch); number < batches; number++ {
		send(second, number)
	}
	if n := count(t, first, "SELECT sum(records) FROM usage_blocks"); n != batches*len(batch) {
		t.Errorf("%d records are stored, want %d", n, batches*len(batch))
	}
	known := 0
	for _, table := range second.seen.tables {
		known += table.ids
	}
	if known < keptSeen || known > keptSeen+2*tableIDs {
		t.Errorf("%d ids were read for %d that are to be known", known, keptSeen)
	}
}
