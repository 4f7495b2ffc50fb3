// Package clock tells the time to who removes what is old, and would remove everything while the machine's clock is far ahead, as it may be
// for a moment after a start. What it believes is kept in a file, so that a second start with such a clock believes no more than the first.
package clock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Clock is the machine's, where it may be believed. Its methods may be called concurrently; make one with Open.
type Clock struct {
	path  string
	began time.Time // with the monotonic clock's reading
	doubt error

	mu   sync.Mutex
	even even
}

// Open returns a clock that goes on from what Save has put into a file; the machine's is believed where there is none yet. Where the file holds
// something else, as after a power loss, nothing is old until the machine's has gone evenly for a day, and Doubt says so.
func Open(path string) (*Clock, error) {
	now := time.Now()
	c := &Clock{path: path, began: now, even: even{right: now, wall: now.Round(0)}}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(text) == 0 { // the second is what a power loss leaves of a new one
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read when the server last ran: %w", err)
	}
	if c.even, err = readEven(string(text), now.Round(0)); err != nil {
		c.Distrust(fmt.Errorf("%s: %w", path, err))
	}
	return c, nil
}

// Distrust has nothing be old until the machine's clock has gone evenly for a day, and Doubt say why. Call it before Now.
func (c *Clock) Distrust(why error) {
	c.even, c.doubt = even{right: time.Unix(0, 0), wall: c.began.Round(0)}, why
}

// Doubt is why nobody knows what the time was when the server last ran; nil: it is known, or it never ran.
func (c *Clock) Doubt() error { return c.doubt }

// Now is the time by which things are old. It is never later than the machine's. Until that has gone evenly for a day, also over pauses of
// some days between two servers, no more time has passed since the last Save than this process has run.
func (c *Clock) Now() time.Time {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.even.now(now.Round(0), now.Sub(c.began))
}

// Save keeps what is believed for the next Open. Call it from time to time: what passed since it was called last is a pause for that.
func (c *Clock) Save() error {
	now := time.Now()
	c.mu.Lock()
	text := c.even.text(now.Round(0), now.Sub(c.began))
	c.mu.Unlock()
	file, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, text)
	return errors.Join(err, file.Truncate(int64(len(text))), file.Close())
}
