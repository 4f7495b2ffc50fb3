package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"apibuilder/sandbox/nsjail"
)

// seat is one of the two places that the servers of a data directory take in turn, so that one that takes over finds nothing
// of the one that drains. It names what two servers cannot share: control groups, sockets of sandboxes, the usage journal.
// The first seat's names are those without a suffix.
type seat int

func (s seat) other() seat { return 1 - s }

func (s seat) suffix() string {
	if s == 0 {
		return ""
	}
	return "-b"
}

// groups names the control groups of sandboxes.
func (s seat) groups(dir string) string { return nsjail.InstanceName(filepath.Clean(dir)) + s.suffix() }

// buildGroups names the control groups of builds.
func (s seat) buildGroups(dir string) string { return nsjail.BuildInstance(dir) + s.suffix() }

// sockets is the directory of sandboxes' sockets, below the data directory.
func (s seat) sockets() string { return "run" + s.suffix() }

// journal is the directory of the usage journal, below the data directory.
func (s seat) journal() string { return "usage" + s.suffix() }

// clean ends and removes what a dead server in this seat left, but for its journal.
func (s seat) clean(ctx context.Context, data *dataDir) error {
	for _, instance := range []string{s.groups(data.path), s.buildGroups(data.path)} {
		if err := nsjail.Clean(ctx, instance, data.join(s.sockets())); err != nil {
			return fmt.Errorf("end what a dead server left: %w", err)
		}
	}
	return nil
}
