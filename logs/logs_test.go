package logs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"apibuilder/logs"
)

const api = "api_aaaaaaaaaaaaaaaa"

func line(text string) logs.Line {
	return logs.Line{Time: time.Now(), Version: 1, Stream: "stdout", Text: text}
}

func appendAll(t *testing.T, b *logs.Book, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := b.Append(api, line(text)); err != nil {
			t.Fatal(err)
		}
	}
}

func texts(lines []logs.Line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Text)
	}
	return strings.Join(all, " ")
}

func TestTailIsTheNewestOldestFirst(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(dir)
	appendAll(t, b, "a", "b", "c")
	lines, err := b.Tail(api, 2)
	if err != nil || texts(lines) != "b c" {
		t.Fatalf("%q, %v", texts(lines), err)
	}
	b.Close()
	b = logs.New(dir) // as after a restart
	defer b.Close()
	appendAll(t, b, "d")
	if lines, _ := b.Tail(api, 10); texts(lines) != "a b c d" {
		t.Fatalf("%q", texts(lines))
	}
	if lines, err := b.Tail("api_other", 10); len(lines) > 0 || err != nil {
		t.Fatalf("%v, %v", lines, err)
	}
}

func TestAFloodStaysInBounds(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(dir)
	defer b.Close()
	long := strings.Repeat("x", 1<<20)
	for i := range 2000 {
		appendAll(t, b, fmt.Sprint(i, long))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("files %v, %v", entries, err)
	}
	for _, e := range entries {
		if info, _ := e.Info(); info.Size() > 4<<20 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has %d bytes, mode %v", e.Name(), info.Size(), info.Mode())
		}
	}
	lines, err := b.Tail(api, 300)
	if err != nil || len(lines) != 300 || !strings.HasPrefix(lines[299].Text, "1999x") {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if n := len(lines[0].Text); n > 17<<10 {
		t.Fatalf("a line has %d bytes", n)
	}
}

func TestStrangeTextAndTornLines(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(dir)
	defer b.Close()
	appendAll(t, b, "a\x00\xff\x1b[31m\n\"b")
	file, err := os.OpenFile(filepath.Join(dir, api+".jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"text":"torn` + "\n"); err != nil {
		t.Fatal(err)
	}
	file.Close()
	appendAll(t, b, "after")
	lines, err := b.Tail(api, 10)
	if err != nil || len(lines) != 2 || lines[0].Text != "a\x00\uFFFD\x1b[31m\n\"b" || lines[1].Text != "after" {
		t.Fatalf("%+v, %v", lines, err)
	}
}

func TestPathsAreNoIDs(t *testing.T) {
	b := logs.New(t.TempDir())
	for _, id := range []string{"", ".", "..", "../x", "a/b", "/etc/passwd"} {
		if err := b.Append(id, line("x")); err == nil {
			t.Errorf("%q is taken for an id", id)
		}
	}
}

func TestFollowLosesAndDoublesNothing(t *testing.T) {
	b := logs.New(t.TempDir())
	appendAll(t, b, "a")
	tail, f, err := b.Follow(api, 10)
	if err != nil || texts(tail) != "a" {
		t.Fatalf("%q, %v", texts(tail), err)
	}
	appendAll(t, b, "b", "c")
	if l := <-f.Lines(); l.Text != "b" {
		t.Fatalf("%q", l.Text)
	}
	if l := <-f.Lines(); l.Text != "c" {
		t.Fatalf("%q", l.Text)
	}
	f.Close()
	f.Close()
	if _, more := <-f.Lines(); more {
		t.Fatal("a line after the end")
	}
	appendAll(t, b, "d")
}

func TestASlowFollowerIsToldWhatItMissed(t *testing.T) {
	b := logs.New(t.TempDir())
	defer b.Close()
	_, f, err := b.Follow(api, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 1024 + 7 {
		appendAll(t, b, "x")
	}
	<-f.Lines()
	<-f.Lines()
	appendAll(t, b, "last")
	var got []string
	for range 1024 {
		got = append(got, (<-f.Lines()).Text)
	}
	if end := got[len(got)-2:]; end[0] != "7 lines are left out here" || end[1] != "last" {
		t.Fatalf("%q", end)
	}
}

func TestRemoveAndCloseEndFollowers(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(dir)
	appendAll(t, b, "a")
	_, f, _ := b.Follow(api, 0)
	if err := b.Remove(api); err != nil {
		t.Fatal(err)
	}
	if _, more := <-f.Lines(); more {
		t.Fatal("a line after the end")
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Fatalf("left behind: %v", entries)
	}
	if err := b.Remove(api); err != nil {
		t.Fatal(err)
	}
	_, f, _ = b.Follow(api, 0)
	b.Close()
	if _, more := <-f.Lines(); more {
		t.Fatal("a line after the end")
	}
}
