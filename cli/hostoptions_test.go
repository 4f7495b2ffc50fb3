package cli

import (
	"reflect"
	"strings"
	"testing"

	"apibuilder/sandbox/cgroup"
)

func TestIOLimitsAreRead(t *testing.T) {
	got, err := parseIOLimits("8:0 rbps=50M wbps=1K, 259:3 riops=500 wiops=7")
	want := []cgroup.IOLimit{
		{Major: 8, ReadBytes: 50 << 20, WriteBytes: 1 << 10}, {Major: 259, Minor: 3, ReadOps: 500, WriteOps: 7},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWrongIOLimitsNameWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"8:0":                     "no limit of a device",
		"8:0 rbps=50M,":           "no limit of a device",
		"8:x rbps=50M":            "8:x",
		"/dev/null rbps=50M":      "/dev/null is no block device",
		"/dev/nowhere rbps=50M":   "no such file",
		"8:0 speed=50M":           `"speed=50M" limits nothing`,
		"8:0 rbps":                "rbps",
		"8:0 rbps=fast":           `"fast" is no size`,
		"8:0 rbps=0":              `"0" is no size`,
		"8:0 rbps=1M wiops=-1":    `"-1" is no size`,
		"4096:0 rbps=1M":          "4096:0",
		"8:0 rbps=1M; 8:1 rbps=1": "",
	} {
		if _, err := parseIOLimits(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
