package usage

import "time"

const (
	// proof is for how long the machine's clock must have gone evenly to be believed.
	proof = 24 * time.Hour
	// mostJump is by how much it may have been set meanwhile.
	mostJump = time.Hour
)

// evenClock tells the time to who removes what is old, and would remove everything while the machine's clock is far ahead, as it may
// be for a moment after a start. Until that has gone evenly for a day, no more time has passed since the newest record than the process
// has run.
type evenClock struct {
	right time.Time     // believed at wall
	wall  time.Time     // by the machine's clock
	up    time.Duration // of the process, at wall
}

// now returns the time to believe when the machine's clock says wall and the process has run for up.
func (c *evenClock) now(wall time.Time, up time.Duration) time.Time {
	passed := up - c.up
	if passed >= proof {
		c.right = c.right.Add(passed)
		if jump := wall.Sub(c.wall) - passed; jump.Abs() <= mostJump {
			c.right = wall
		}
		c.wall, c.up, passed = wall, up, 0
	}
	if believed := c.right.Add(passed); believed.Before(wall) {
		return believed
	}
	return wall
}
