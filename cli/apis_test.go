package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal returns the two ends of a new one (pts(4)).
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	return ours, theirs
}

// TestAQuestionEndsWithAnInterruption: Ctrl-C seemed to do nothing there, because who reads a terminal looks at no context.
func TestAQuestionEndsWithAnInterruption(t *testing.T) {
	keyboard, screen := terminal(t)
	a := &app{stdin: screen, stderr: &bytes.Buffer{}}
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.confirm(ctx, "Delete it?") }()
	interrupt()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "nothing is deleted") {
			t.Errorf("error %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for an answer")
	}
	fmt.Fprintln(keyboard, "n") // for who reads still

	for answer, want := range map[string]bool{"y": true, "Yes": true, "n": false, "": false} {
		keyboard, screen := terminal(t)
		a := &app{stdin: screen, stderr: &bytes.Buffer{}}
		fmt.Fprintln(keyboard, answer)
		if err := a.confirm(t.Context(), "Delete it?"); (err == nil) != want {
			t.Errorf("%q: %v", answer, err)
		}
	}
}
