package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const someAPI = "api_aaaaaaaaaaaaaaaa"

func put(t *testing.T, b *Book, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := b.Append(someAPI, Line{Time: time.Now(), Stream: "stdout", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, b *Book) string {
	t.Helper()
	lines, err := b.Read(t.Context(), someAPI, Filter{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range lines {
		all = append(all, l.Text)
	}
	return strings.Join(all, " ")
}

func TestOldLinesGo(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Dir: dir, Limits: Limits{Age: time.Hour}})
		defer b.Close()
		put(t, b, "a")
		time.Sleep(40 * time.Minute)
		put(t, b, "b")
		time.Sleep(40 * time.Minute)
		if got := read(t, b); got != "b" {
			t.Errorf("%q", got)
		}
		put(t, b, "c") // the file's first line is too old: its turn is over
		if got := read(t, b); got != "b c" {
			t.Errorf("%q", got)
		}
		if raw, _ := os.ReadFile(filepath.Join(dir, someAPI+suffix+older)); !strings.Contains(string(raw), `"a"`) {
			t.Error("the file did not turn")
		}
		time.Sleep(70 * time.Minute)
		put(t, b, "d")
		if raw, _ := os.ReadFile(filepath.Join(dir, someAPI+suffix+older)); strings.Contains(string(raw), `"a"`) {
			t.Error("what is twice too old is still there")
		}
	})
}

// TestFilesThatNobodyWritesToGo has the files' times set, because those are the real clock's.
func TestFilesThatNobodyWritesToGo(t *testing.T) {
	dir := t.TempDir()
	b := New(Config{Dir: dir, Limits: Limits{Age: time.Hour}})
	put(t, b, "a")
	b.Close()
	for _, name := range []string{"api_b" + suffix, "api_b" + suffix + older, "api_c" + suffix, "strange", "api_d.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	b = New(Config{Dir: dir, Limits: Limits{Age: time.Hour}})
	defer b.Close()
	b.keeper.sweep(func(err error) { t.Error(err) })
	var left []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != someAPI+".jsonl api_d.new strange" {
		t.Errorf("left: %s", got)
	}
}

func TestAnAPIsOwnLimits(t *testing.T) {
	dir := t.TempDir()
	own := make(chan Limits, 1)
	asked := make(chan struct{}, 100)
	b := New(Config{Dir: dir, Of: func(_ context.Context, api string) (Limits, error) {
		defer func() { asked <- struct{}{} }()
		if api != someAPI {
			return Limits{}, fmt.Errorf("asked for %q", api)
		}
		l := <-own
		own <- l
		return l, nil
	}})
	defer b.Close()
	own <- Limits{}
	b.Start(func(err error) { t.Error(err) })
	for i := range 20_000 {
		put(t, b, fmt.Sprint(i))
	}
	<-asked
	before := len(strings.Fields(read(t, b)))
	if before != 1000 {
		t.Fatalf("%d lines", before)
	}
	<-own
	own <- Limits{Size: 100 << 10, Age: 100 * DefaultLimits.Age} // the tighter one of each holds
	b.Changed(someAPI)
	p, _ := b.page(someAPI)
	for size := int64(0); size != 100<<10; {
		p.mu.Lock()
		size = p.limits.Size
		if size == 100<<10 && p.limits.Age != DefaultLimits.Age {
			t.Errorf("limits %+v", p.limits)
		}
		p.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	p.mu.Lock() // setLimits has ended
	p.mu.Unlock()
	info, err := os.Stat(p.path)
	if err != nil || info.Size() > 50<<10 || info.Size() < 49<<10 {
		t.Fatalf("%v, %v", info, err)
	}
	lines, err := b.Read(t.Context(), someAPI, Filter{}, 100_000)
	if err != nil || lines[len(lines)-1].Text != "19999" || len(lines) > 1000 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	put(t, b, "after")
	if got := read(t, b); !strings.HasSuffix(got, "19999 after") {
		t.Errorf("%q", got[len(got)-30:])
	}
}

// TestTheOlderFormat reads lines of version 0.1.0, and shows that what is written has its fields, under their names.
func TestTheOlderFormat(t *testing.T) {
	dir := t.TempDir()
	old := `{"time":"` + time.Now().UTC().Format(time.RFC3339Nano) + `","version":3,"stream":"sandbox","text":"the program ended: crashed"}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, someAPI+".jsonl"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	b := New(Config{Dir: dir})
	defer b.Close()
	put(t, b, "new")
	lines, err := b.Read(t.Context(), someAPI, Filter{}, 10)
	if err != nil || len(lines) != 2 || lines[0].Source() != Sandbox || lines[0].Version != 3 || lines[1].Source() != Program {
		t.Fatalf("%+v, %v", lines, err)
	}
	raw, _ := os.ReadFile(filepath.Join(dir, someAPI+".jsonl"))
	if last := strings.Split(string(raw), "\n")[1]; !strings.HasPrefix(last, `{"time":"`) || !strings.HasSuffix(last, `,"version":0,"stream":"stdout","text":"new"}`) {
		t.Errorf("written as %s", last)
	}
}

// TestAClockThatIsFarAheadRemovesNothing has the files' times of the real clock, and one that believes no more than has passed.
func TestAClockThatIsFarAheadRemovesNothing(t *testing.T) {
	dir := t.TempDir()
	believed := time.Now().Add(-1000 * time.Hour)
	b := New(Config{Dir: dir, Limits: Limits{Age: time.Hour}, Now: func() time.Time { return believed }})
	defer b.Close()
	line := []byte(`{"time":"` + believed.UTC().Format(time.RFC3339Nano) + `","version":1,"stream":"stdout","text":"before"}` + "\n")
	for _, name := range []string{someAPI + suffix, someAPI + suffix + older} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, line, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, believed, believed); err != nil {
			t.Fatal(err)
		}
	}
	b.keeper.sweep(func(err error) { t.Error(err) })
	put(t, b, "now")
	kept := 0
	for _, name := range []string{someAPI + suffix, someAPI + suffix + older} {
		raw, _ := os.ReadFile(filepath.Join(dir, name))
		kept += strings.Count(string(raw), "before")
	}
	if kept != 2 {
		t.Errorf("%d of two lines are kept", kept)
	}
}

// TestLimitsThatCouldNotBeHadAreAskedForAgain has the store away for some minutes.
func TestLimitsThatCouldNotBeHadAreAskedForAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(3 * time.Minute)
		var told []error
		b := New(Config{Dir: dir, Of: func(context.Context, string) (Limits, error) {
			if time.Now().Before(back) {
				return Limits{}, errors.New("the store is away")
			}
			return Limits{Age: time.Hour}, nil
		}})
		defer b.Close()
		b.Start(func(err error) { told = append(told, err) })
		put(t, b, "a")
		for _, api := range []string{"api_b", "api_c"} {
			if err := b.Append(api, Line{Time: time.Now(), Text: "x"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for _, api := range []string{someAPI, "api_b", "api_c"} {
			p, err := b.page(api)
			if err != nil {
				t.Fatal(err)
			}
			p.mu.Lock()
			if p.limits.Age != time.Hour {
				t.Errorf("%s has the limits %+v", api, p.limits)
			}
			p.mu.Unlock()
		}
		if len(told) != 1 {
			t.Errorf("told %d times: %v", len(told), told)
		}
	})
}

// TestFilesOfALargerLimitAreShortened though nobody writes to them, and what a killed server left half rewritten goes.
func TestFilesOfALargerLimitAreShortened(t *testing.T) {
	dir := t.TempDir()
	b := New(Config{Dir: dir, Limits: Limits{Size: 4 << 20}})
	for range 20_000 {
		put(t, b, strings.Repeat("x", 200))
	}
	b.Close()
	left := filepath.Join(dir, someAPI+suffix+rewritten)
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	b = New(Config{Dir: dir, Limits: Limits{Size: size}})
	defer b.Close()
	put(t, b, "the last of before") // the file is open
	b.keeper.sweep(func(err error) { t.Error(err) })
	put(t, b, "the last")
	var bytes int64
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	if bytes > size || bytes < size/3 { // each file keeps whole lines of its half
		t.Errorf("%d bytes are left", bytes)
	}
	if got := read(t, b); !strings.HasSuffix(got, "x the last of before the last") {
		t.Errorf("%q", got[max(0, len(got)-100):])
	}
}

// TestFilesThatAnotherServerHasOpenAreNotRewritten: what it writes would be lost.
func TestFilesThatAnotherServerHasOpenAreNotRewritten(t *testing.T) {
	dir := t.TempDir()
	before, b := New(Config{Dir: dir}), New(Config{Dir: dir})
	defer b.Close()
	defer before.Close()
	b.Share()
	for range 2000 {
		put(t, before, strings.Repeat("x", 200))
	}
	p, err := b.page(someAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.setLimits(Limits{Size: LeastSize, Age: time.Hour}); err != nil {
		t.Fatal(err)
	}
	put(t, before, "still")
	if got := read(t, b); !strings.HasSuffix(got, " still") {
		t.Errorf("%q", got[max(0, len(got)-100):])
	}
	b.Own()
	b.keeper.sweep(func(err error) { t.Error(err) })
	if info, err := os.Stat(p.path); err != nil || info.Size() > longest {
		t.Errorf("it is not shortened when the other server has ended: %v, %v", info, err)
	}
}

// TestNothingIsLeftOfALog that is removed, neither of one that was being shortened.
func TestNothingIsLeftOfALog(t *testing.T) {
	dir := t.TempDir()
	b := New(Config{Dir: dir})
	defer b.Close()
	put(t, b, "a")
	for _, end := range []string{older, rewritten, older + rewritten} {
		if err := os.WriteFile(filepath.Join(dir, someAPI+suffix+end), []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Remove(someAPI); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
