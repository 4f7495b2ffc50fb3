package cli

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"apibuilder/sandbox/cgroup"
	"apibuilder/sandbox/nsjail"
)

// hostOptions are the settings about what sandboxes are made of on this machine.
type hostOptions struct {
	uids   nsjail.UIDRange
	io     []cgroup.IOLimit
	builds buildOptions

	network bool // sandboxes may have one
}

func readHostOptions(s settings) (o hostOptions, err error) {
	if o.uids, err = parse(s, "uid-range", nsjail.ParseUIDRange); err != nil {
		return o, err
	}
	if o.io, err = parse(s, "io-max", parseIOLimits); err != nil {
		return o, err
	}
	o.builds, err = readBuildOptions(s)
	return o, err
}

// parseIOLimits reads limits of block devices in the words of the kernel's io.max (cgroup-v2.rst), several apart by commas. A
// device is its file or its numbers: "/dev/vda rbps=50M wbps=20M, 8:16 riops=500 wiops=200".
func parseIOLimits(text string) ([]cgroup.IOLimit, error) {
	var all []cgroup.IOLimit
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) < 2 {
			return nil, fmt.Errorf("%q is no limit of a device: write for example %q", strings.TrimSpace(part), "/dev/vda rbps=50M wiops=200")
		}
		limit, err := findDevice(words[0])
		if err != nil {
			return nil, err
		}
		for _, word := range words[1:] {
			if err := setIOLimit(&limit, word); err != nil {
				return nil, err
			}
		}
		all = append(all, limit)
	}
	return all, nil
}

func findDevice(name string) (limit cgroup.IOLimit, err error) {
	if major, minor, ok := strings.Cut(name, ":"); ok && !strings.HasPrefix(name, "/") {
		a, errA := strconv.ParseUint(major, 10, 12)
		b, errB := strconv.ParseUint(minor, 10, 20)
		if errA != nil || errB != nil {
			return limit, fmt.Errorf("%q are no numbers of a block device: write for example 8:0", name)
		}
		return cgroup.IOLimit{Major: int64(a), Minor: int64(b)}, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return limit, fmt.Errorf("look at the block device %s: %w", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return limit, fmt.Errorf("%s is no block device: name a whole disk like /dev/vda", name)
	}
	return cgroup.IOLimit{Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev))}, nil
}

func setIOLimit(limit *cgroup.IOLimit, word string) error {
	name, value, _ := strings.Cut(word, "=")
	rate := map[string]*uint64{
		"rbps": &limit.ReadBytes, "wbps": &limit.WriteBytes, "riops": &limit.ReadOps, "wiops": &limit.WriteOps,
	}[name]
	if rate == nil {
		return fmt.Errorf("%q limits nothing: write rbps=50M, wbps=50M, riops=500 or wiops=500", word)
	}
	n, err := parseSize(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*rate = uint64(n)
	return nil
}
