package nsjail

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	configPath = "/proc/self/fd/6"
	// configPatience bounds how long nsjail may take to read what does not fit into a pipe.
	configPatience = 30 * time.Second
	// firstToGo is the oom_score_adj (proc_pid_oom_score_adj(5)) of everything in a jail: when the machine is out of memory the
	// kernel ends sandboxes before anything else. A process cannot go below what root gave it or its parent.
	firstToGo = "1000"
)

// configuration is what nsjail reads under configPath, from a pipe: it cannot start anything before it has been given all of it,
// and by then it has its score, which its children inherit.
type configuration struct {
	text        string
	read, write *os.File
}

func newConfiguration(text string) (*configuration, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make nsjail's configuration: %w", err)
	}
	return &configuration{text, read, write}, nil
}

// start has begin start cmd, which is nsjail with the reading end, and lets it go on. After an error nothing runs.
func (c *configuration) start(cmd *exec.Cmd, begin func() error) error {
	if err := begin(); err != nil {
		return err
	}
	_ = c.read.Close() // so that nsjail is its only reader
	if err := c.give(cmd.Process.Pid); err != nil {
		// Before the pipe is closed: a part of the configuration must not be taken for the whole.
		return errors.Join(err, cmd.Process.Kill(), ignoreExit(cmd.Wait()))
	}
	return nil
}

func (c *configuration) give(pid int) error {
	if err := os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(firstToGo), 0); err != nil {
		return fmt.Errorf("have the kernel end the sandbox before the server when memory is short: %w", err)
	}
	_ = c.write.SetWriteDeadline(time.Now().Add(configPatience))
	if _, err := c.write.WriteString(c.text); err != nil && !errors.Is(err, unix.EPIPE) { // nsjail that has ended says why itself
		return fmt.Errorf("write nsjail's configuration: %w", err)
	}
	return c.write.Close()
}

func ignoreExit(err error) error {
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}

// close gives up what is still open. It may be called twice.
func (c *configuration) close() {
	_ = c.read.Close()
	_ = c.write.Close()
}
