package cli

import (
	"fmt"

	"apibuilder/sandbox/cgroup"
)

// hostMemory returns what tells a manager how much memory the host could still give; nothing when nothing is kept free.
func hostMemory(reserve int64) (func() (int64, error), error) {
	if reserve == 0 {
		return nil, nil
	}
	meter, err := cgroup.NewMeter("/")
	if err != nil {
		return nil, err
	}
	if _, err := meter.Available(); err != nil {
		return nil, fmt.Errorf("%w: mount /proc and /sys, or give --memory-reserve none", err)
	}
	return meter.Available, nil
}
