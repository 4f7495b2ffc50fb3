package clock

import "time"

const (
	// proof is for how long the machine's clock must have gone evenly to be believed.
	proof = 24 * time.Hour
	// mostJump is by how much it may have been set meanwhile.
	mostJump = time.Hour
)

// even is what is believed of the machine's clock.
type even struct {
	right time.Time     // believed at wall
	wall  time.Time     // by the machine's clock
	up    time.Duration // of the process, at wall; below zero: of those before
}

// now returns the time to believe when the machine's clock says wall and the process has run for up.
func (c *even) now(wall time.Time, up time.Duration) time.Time {
	if believed := c.believed(wall, up); believed.Before(wall) {
		return believed
	}
	return wall
}

// believed is now, and later than wall where that was set back.
func (c *even) believed(wall time.Time, up time.Duration) time.Time {
	passed := up - c.up
	if passed >= proof {
		c.right = c.right.Add(passed)
		if jump := wall.Sub(c.wall) - passed; jump.Abs() <= mostJump {
			c.right = wall
		}
		c.wall, c.up, passed = wall, up, 0
	}
	return c.right.Add(passed)
}
