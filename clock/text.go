package clock

import (
	"fmt"
	"time"
)

const (
	layout = "2006-01-02T15:04:05Z"
	// form is what is believed, at what the machine's clock said, what it says now, and how many seconds have passed between, all of the
	// same length at all times. So the line is written over in place: of what is shorter than a sector there is the one or the other after a
	// power loss, also where two servers write, as while one takes over.
	form = "%s %s %s %010d\n"
	// mostPause counts as time that has passed when nobody ran for so long, as over a weekend. The clock of one that was off for longer must
	// be proved first.
	mostPause = 3 * 24 * time.Hour
)

// text is what readEven reads.
func (c *even) text(wall time.Time, up time.Duration) string {
	c.believed(wall, up) // which may prove it
	at := func(t time.Time) string { return t.UTC().Format(layout) }
	return fmt.Sprintf(form, at(c.right), at(c.wall), at(wall), int64((up-c.up)/time.Second))
}

// readEven goes on from a text when the machine's clock says now and the process begins.
func readEven(text string, now time.Time) (even, error) {
	var fields [3]string
	var seconds int64
	if _, err := fmt.Sscanf(text, form, &fields[0], &fields[1], &fields[2], &seconds); err != nil {
		return even{}, fmt.Errorf("%.100q is no state of a clock", text)
	}
	var times [3]time.Time
	for i, field := range fields {
		var err error
		if times[i], err = time.Parse(layout, field); err != nil {
			return even{}, fmt.Errorf("%.100q is no state of a clock", text)
		}
	}
	passed := time.Duration(seconds) * time.Second
	pause := now.Sub(times[2])
	if pause < -mostJump || pause > mostPause {
		return even{right: times[0].Add(passed), wall: now}, nil
	}
	return even{right: times[0], wall: times[1], up: -passed - max(pause, 0)}, nil
}
