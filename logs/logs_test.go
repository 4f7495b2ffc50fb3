package logs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

func TestReadIsTheNewestOldestFirst(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(logs.Config{Dir: dir})
	appendAll(t, b, "a", "b", "c")
	lines, err := b.Read(t.Context(), api, logs.Filter{}, 2)
	if err != nil || texts(lines) != "b c" {
		t.Fatalf("%q, %v", texts(lines), err)
	}
	b.Close()
	b = logs.New(logs.Config{Dir: dir}) // as after a restart
	defer b.Close()
	appendAll(t, b, "d")
	if lines, _ := b.Read(t.Context(), api, logs.Filter{}, 10); texts(lines) != "a b c d" {
		t.Fatalf("%q", texts(lines))
	}
	if lines, err := b.Read(t.Context(), "api_other", logs.Filter{}, 10); len(lines) > 0 || err != nil {
		t.Fatalf("%v, %v", lines, err)
	}
}

func TestAFloodStaysInBounds(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(logs.Config{Dir: dir})
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
	lines, err := b.Read(t.Context(), api, logs.Filter{}, 300)
	if err != nil || len(lines) != 300 || !strings.HasPrefix(lines[299].Text, "1999x") {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if n := len(lines[0].Text); n > 17<<10 {
		t.Fatalf("a line has %d bytes", n)
	}
}

func TestStrangeTextAndTornLines(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(logs.Config{Dir: dir})
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
	lines, err := b.Read(t.Context(), api, logs.Filter{}, 10)
	if err != nil || len(lines) != 2 || lines[0].Text != "a\x00\uFFFD\x1b[31m\n\"b" || lines[1].Text != "after" {
		t.Fatalf("%+v, %v", lines, err)
	}
}

// TestALineAfterHalfOfOne has what a server leaves that is killed, or whose disk is full, in the middle of a line.
func TestALineAfterHalfOfOne(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(logs.Config{Dir: dir})
	appendAll(t, b, "before")
	b.Close()
	file, err := os.OpenFile(filepath.Join(dir, api+".jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(`{"text":"torn`)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	b = logs.New(logs.Config{Dir: dir})
	defer b.Close()
	appendAll(t, b, "first", "second")
	if lines, err := b.Read(t.Context(), api, logs.Filter{}, 10); err != nil || texts(lines) != "before first second" {
		t.Fatalf("%q, %v", texts(lines), err)
	}
}

// TestALineAfterTheDiskWasFull has a write end in its middle.
func TestALineAfterTheDiskWasFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test mounts a small disk: run it as root")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	b := logs.New(logs.Config{Dir: dir})
	defer b.Close()
	appendAll(t, b, "before")
	if err := b.Append(api, line(strings.Repeat("x", 16<<10))); err == nil {
		t.Fatal("the disk was not full")
	}
	if err := unix.Mount("none", dir, "", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	appendAll(t, b, "first", "second")
	if lines, err := b.Read(t.Context(), api, logs.Filter{}, 10); err != nil || texts(lines) != "before first second" {
		t.Fatalf("%q, %v", texts(lines), err)
	}
}

func TestPathsAreNoIDs(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	for _, id := range []string{"", ".", "..", "../x", "a/b", "/etc/passwd"} {
		if err := b.Append(id, line("x")); err == nil {
			t.Errorf("%q is taken for an id", id)
		}
	}
}

// TestTwoServersTurnAFileOnce: while one takes over from the other, both write.
func TestTwoServersTurnAFileOnce(t *testing.T) {
	config := logs.Config{Dir: t.TempDir(), Limits: logs.Limits{Size: logs.LeastSize}}
	text := strings.Repeat("a", 1000)
	books := [2]*logs.Book{}
	for i := range books {
		books[i] = logs.New(config)
		defer books[i].Close()
	}
	const each = 40 // so that each finds its file full, the first one some lines before the second
	for n := range each {
		for i, b := range books {
			appendAll(t, b, fmt.Sprintf("%d-%d %s", i, n, text))
		}
	}
	lines, err := books[0].Read(t.Context(), api, logs.Filter{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) < 2*each-20 {
		t.Errorf("%d of %d lines are left", len(lines), 2*each)
	}
}

// TestMarkupTakesNoMoreRoomThanItHas writes characters that JSON inside a page would escape.
func TestMarkupTakesNoMoreRoomThanItHas(t *testing.T) {
	dir := t.TempDir()
	b := logs.New(logs.Config{Dir: dir})
	defer b.Close()
	text := strings.Repeat("<a&b>", 1000)
	appendAll(t, b, text)
	lines, err := b.Read(t.Context(), api, logs.Filter{}, 1)
	if err != nil || texts(lines) != text {
		t.Errorf("it is read as %.50q, %v", texts(lines), err)
	}
	if info, err := os.Stat(filepath.Join(dir, api+".jsonl")); err != nil || info.Size() > int64(len(text))+200 {
		t.Errorf("%v, %v", info.Size(), err)
	}
}
