package pythonenv

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// measure adds up what a directory holds, while others may change it in any way: it follows no link and no path twice.
// What goes away meanwhile is not counted.
func measure(dir string) (extent, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return extent{}, fmt.Errorf("measure %s: %w", dir, err)
	}
	var size extent
	if err := measureInto(&size, fd, 0); err != nil {
		return size, fmt.Errorf("measure %s: %w", dir, err)
	}
	return size, nil
}

var errTooDeep = errors.New("too many directories in each other")

// maxDepth of directories in each other holds one descriptor for each.
const maxDepth = 200

// measureInto closes fd.
func measureInto(size *extent, fd, depth int) error {
	defer unix.Close(fd)
	if depth > maxDepth {
		return errTooDeep
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buffer)
		if err != nil || n == 0 {
			return ignoreAbsent(err)
		}
		_, _, names := unix.ParseDirent(buffer[:n], -1, nil)
		for _, name := range names {
			if err := measureOne(size, fd, name, depth); err != nil {
				return err
			}
		}
	}
}

func measureOne(size *extent, parent int, name string, depth int) error {
	var s unix.Stat_t
	if err := unix.Fstatat(parent, name, &s, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return ignoreAbsent(err)
	}
	size.files++
	size.bytes += s.Blocks * 512
	if s.Mode&unix.S_IFMT != unix.S_IFDIR || size.files > maxFiles {
		return nil
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignoreAbsent(err)
	}
	return measureInto(size, fd, depth+1)
}

// ignoreAbsent forgives what others removed or replaced just now.
func ignoreAbsent(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	return err
}
