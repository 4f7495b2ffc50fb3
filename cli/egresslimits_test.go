package cli

import (
	"errors"
	"strings"
	"testing"

	"apibuilder/egress"
)

// TestEgressLimitsAreRead has each limit of the operator's come from the place where it is set, and reach its own field.
func TestEgressLimitsAreRead(t *testing.T) {
	read := func(args ...string) egress.Limits {
		t.Helper()
		return readAs(t, readServeOptions, args...).egress.Limits
	}
	defaults := egress.Limits{Connections: 256, PerSecond: 100, Bandwidth: 128 << 20}
	if egress.DefaultLimits != defaults {
		t.Errorf("the settings' defaults are no more those of who sets nothing: %+v", egress.DefaultLimits)
	}
	with := func(change func(*egress.Limits)) egress.Limits {
		l := defaults
		change(&l)
		return l
	}
	for _, c := range []struct {
		flag, text string
		want       egress.Limits
	}{
		{"egress-connections", "7", with(func(l *egress.Limits) { l.Connections = 7 })},
		{"egress-rate", "8", with(func(l *egress.Limits) { l.PerSecond = 8 })},
		{"egress-bandwidth", "9M", with(func(l *egress.Limits) { l.Bandwidth = 9 << 20 })},
		{"egress-bandwidth", "1.5K", with(func(l *egress.Limits) { l.Bandwidth = 1536 })},
		{"egress-bandwidth", "4G", with(func(l *egress.Limits) { l.Bandwidth = 4 << 30 })},
		{"egress-bandwidth", "1000", with(func(l *egress.Limits) { l.Bandwidth = 1000 })},
	} {
		if got := read("--"+c.flag, c.text); got != c.want {
			t.Errorf("--%s %s: %+v, want %+v", c.flag, c.text, got, c.want)
		}
		key := strings.ReplaceAll(c.flag, "-", "_")
		if got := read("--config", writeConfig(t, key+" = '"+c.text+"'")); got != c.want {
			t.Errorf("%s = %s: %+v, want %+v", key, c.text, got, c.want)
		}
		t.Run(c.flag+" "+c.text, func(t *testing.T) {
			t.Setenv("APIBUILDER_"+strings.ToUpper(key), c.text)
			if got := read(); got != c.want {
				t.Errorf("%s in the environment: %+v, want %+v", c.text, got, c.want)
			}
		})
	}
	if got := read(); got != defaults {
		t.Errorf("without any: %+v", got)
	}
	all := egress.Limits{Connections: 1, PerSecond: 2, Bandwidth: 3}
	if got := read("--egress-connections", "1", "--egress-rate", "2", "--egress-bandwidth", "3"); got != all {
		t.Errorf("all at once: %+v", got)
	}
}

// TestDescriptorsAreDivided has requests, and connections to outside where there can be some, not take more descriptors together than there are,
// and leave some to all else.
func TestDescriptorsAreDivided(t *testing.T) {
	files, err := openFiles()
	if err != nil {
		t.Fatal(err)
	}
	alone := readAs(t, readServeOptions).requests.limits.Requests
	o := readAs(t, readServeOptions, "--egress-ceiling", "internet")
	if taken := 2*o.requests.limits.Requests + o.egress.Files; taken > files*9/10 || taken < files*8/10 {
		t.Errorf("%d requests and %d connections of %d descriptors", o.requests.limits.Requests, o.egress.Files, files)
	}
	if alone <= o.requests.limits.Requests {
		t.Errorf("where nothing outside is reached, there are %d requests", alone)
	}
	if got := readAs(t, readServeOptions, "--egress-ceiling", "internet", "--max-requests", "77").requests.limits.Requests; got != 77 {
		t.Errorf("%d requests where 77 are set", got)
	}
}

// TestWrongEgressLimits has no limit be 0, negative or something else: there is no word for none of it, and no number stands for that.
func TestWrongEgressLimits(t *testing.T) {
	refused := func(flag, text, kind string) {
		t.Helper()
		s, err := settingsOf(t, "serve", flag+"="+text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = readServeOptions(s)
		if _, usage := errors.AsType[*usageError](err); !usage || !strings.Contains(err.Error(), flag+`: "`+text+`" is no `+kind) {
			t.Errorf("%s=%s: %v", flag, text, err)
		}
	}
	for _, c := range []struct{ flag, kind string }{
		{"--egress-connections", "number: write for example 64"},
		{"--egress-rate", "number: write for example 64"},
		{"--egress-bandwidth", "size: write for example 256M"},
	} {
		for _, text := range []string{"0", "-1", "many", "none", "1e3", "0x10", " 5", "5%", "99999999999999999999"} {
			refused(c.flag, text, c.kind)
		}
	}
	refused("--egress-connections", "2.5", "number")
	refused("--egress-rate", "10M", "number")
}
