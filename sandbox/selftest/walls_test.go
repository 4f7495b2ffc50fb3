package selftest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"apibuilder/egress"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
	"apibuilder/sandbox/selftest"
)

// connected is a manager whose sandboxes may have a network.
func connected(t *testing.T, driver sandbox.Driver, network *selftest.Network) *sandbox.Manager {
	t.Helper()
	return managed(t, sandbox.ManagerConfig{Driver: driver, StartTimeout: normally, Egress: network.Gate()})
}

// networkDriver is an nsjail driver whose sandboxes may have a network.
func networkDriver(t *testing.T) sandbox.Driver {
	t.Helper()
	config := testenv.DriverConfig(t)
	config.Network = true
	return nsjail.New(config)
}

// open lets programs reach by a ceiling and by their policy what rules name.
func open(ceiling *egress.Ceiling, launch launchFunc, rules func(told) []egress.Rule) launchFunc {
	return func(ctx context.Context, s sandbox.Spec) (*sandbox.Instance, error) {
		var t told
		if err := json.Unmarshal([]byte(s.Env["SELFTEST"]), &t); err != nil {
			return nil, err
		}
		named := rules(t)
		ceiling.Private = append(ceiling.Private, named...)
		if !s.Egress.None() {
			s.Egress.Rules = append(s.Egress.Rules, named...)
		}
		return launch(ctx, s)
	}
}

type launchFunc = func(context.Context, sandbox.Spec) (*sandbox.Instance, error)

// told is what a program of the self-test is told of the host.
type told struct {
	Port      uint16
	Listening [][2]any
}

func rule(address string, port uint16) egress.Rule {
	a := netip.MustParseAddr(address)
	return egress.Rule{Prefix: netip.PrefixFrom(a, a.BitLen()), Port: port}
}

// TestAnOpenGateIsSeen has the operator name what the checks try, and the program's policy name it too.
func TestAnOpenGateIsSeen(t *testing.T) {
	ceiling := &egress.Ceiling{Most: egress.Policy{Internet: true}}
	network := selftest.NewNetwork(ceiling)
	m := connected(t, networkDriver(t), network)
	mustFail(t, network, open(ceiling, m.Launch, func(t told) []egress.Rule {
		rules := []egress.Rule{rule("127.0.0.1", t.Port), rule("::1", t.Port)}
		for _, l := range t.Listening {
			rules = append(rules, rule(l[0].(string), uint16(l[1].(float64))))
		}
		return rules
	}), []string{"reach.egress_host", "reach.egress_loopback"})
}

// TestAnOpenGateWithoutARouteIsSeen has everything named on a host that has loopback alone: all connections come to nothing, as if they
// were refused. It runs in a process of its own, in a network namespace of its own.
func TestAnOpenGateWithoutARouteIsSeen(t *testing.T) {
	const marker = "APIBUILDER_TEST_NO_ROUTE"
	if os.Getenv(marker) == "" {
		testenv.Spec(t, "", "") // which may need the package index
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env, cmd.SysProcAttr = append(os.Environ(), marker+"=1"), &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		output, err := cmd.CombinedOutput()
		t.Logf("%s", output)
		if err != nil {
			t.Error(err)
		}
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	ceiling := &egress.Ceiling{Most: egress.Policy{Internet: true}}
	network := selftest.NewNetwork(ceiling)
	m := connected(t, networkDriver(t), network)
	mustFail(t, network, open(ceiling, m.Launch, func(told) []egress.Rule {
		rules := []egress.Rule{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Port: 80}, {Prefix: netip.MustParsePrefix("::/0"), Port: 80}}
		for _, metadata := range []string{"169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"} {
			rules = append(rules, rule(metadata, 80))
		}
		return rules
	}), []string{"reach.egress_metadata", "reach.egress_private", "reach.egress_special", "reach.egress_resolved"})
}

// TestARefusalThatTheGateDidNotMakeIsSeen has another gate than the operator's stand between a sandbox and the network. It refuses the
// same, so that a program sees no difference.
func TestARefusalThatTheGateDidNotMakeIsSeen(t *testing.T) {
	public := egress.Policy{Internet: true}
	network, other := selftest.NewNetwork(&egress.Ceiling{Most: public}), selftest.NewNetwork(&egress.Ceiling{Most: public})
	m := connected(t, careless{Driver: networkDriver(t), guard: func() *egress.Guard {
		guard := other.Gate().Guard()
		guard.Bind("other", public, other.Gate().Turn(), nil)
		return guard
	}}, network)
	mustFail(t, network, m.Launch, []string{
		"reach.egress_metadata", "reach.egress_private", "reach.egress_special", "reach.egress_host", "reach.egress_loopback",
		"reach.egress_resolved", "reach.egress_names", "reach.egress_udp", "reach.egress_udp6",
	})
}

// normally is how long a program may take to start.
const normally = 30 * time.Second

// manager runs sandboxes of a driver until the test ends.
func manager(t *testing.T, d sandbox.Driver, startTimeout time.Duration) *sandbox.Manager {
	t.Helper()
	return managed(t, sandbox.ManagerConfig{Driver: d, StartTimeout: startTimeout})
}

func managed(t *testing.T, config sandbox.ManagerConfig) *sandbox.Manager {
	t.Helper()
	m := sandbox.NewManager(config)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return m
}

func TestEveryWallStands(t *testing.T) {
	network := selftest.NewNetwork(&egress.Ceiling{Most: egress.Policy{Internet: true}})
	m := connected(t, networkDriver(t), network)
	report, err := selftest.Run(t.Context(), selftest.Config{
		Launch: m.Launch, Network: network, Spec: testenv.Spec(t, "", ""),
		Progress: func(r selftest.Result) {
			line := t.Logf
			if r.Verdict == selftest.Fail {
				line = t.Errorf
			}
			line("%-26s %-4s %5.2f s  %s", r.ID, r.Verdict, r.Seconds, r.Detail)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d checks in %.1f s; quiet %+v, beside %+v", len(report.Checks), report.Seconds, report.Quiet, report.Beside)
	if !report.OK || report.Beside.Requests == 0 || report.Beside.Errors > 0 {
		t.Errorf("ok %t, beside the attacks %+v", report.OK, report.Beside)
	}
}

// mustFail runs the checks and wants every one to fail by what it saw, not because it could not run. What could not be
// measured, on a machine that is too busy, is measured again. network is nil where the checks need none.
func mustFail(t *testing.T, network *selftest.Network, launch launchFunc, ids []string) {
	t.Helper()
	var report selftest.Report
	for range 5 {
		var err error
		report, err = selftest.Run(t.Context(), selftest.Config{Launch: launch, Spec: testenv.Spec(t, "", ""), Only: ids, Network: network})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(report.Checks, func(r selftest.Result) bool { return r.Verdict == selftest.NotApplicable }) {
			break
		}
	}
	for _, r := range report.Checks {
		didNotRun := slices.ContainsFunc([]string{"did not run", "start the program", "no process of the program"},
			func(text string) bool { return strings.Contains(r.Detail, text) })
		if r.Verdict != selftest.Fail || didNotRun {
			t.Errorf("%s: %s (%s)", r.ID, r.Verdict, r.Detail)
		} else {
			t.Logf("%s: %s", r.ID, r.Detail)
		}
	}
	if report.OK {
		t.Error("the report says that all is well")
	}
}

// TestAMissingWallIsSeen turns off one wall after the other in how nsjail is called.
func TestAMissingWallIsSeen(t *testing.T) {
	for _, w := range walls {
		t.Run(w.name, func(t *testing.T) {
			network := selftest.NewNetwork(&egress.Ceiling{Most: egress.Policy{Internet: true}})
			m := connected(t, w.driver(t), network)
			mustFail(t, network, m.Launch, w.failing())
		})
	}
}

// TestMissingLimitsAreSeen gives the attacks much larger limits than they are told.
func TestMissingLimitsAreSeen(t *testing.T) {
	m := manager(t, testenv.Driver(t), normally)
	for name, c := range map[string]struct {
		raise func(*sandbox.Limits)
		fails []string
	}{
		"memory": {func(l *sandbox.Limits) { l.MemoryBytes *= 6 }, []string{
			"resources.memory", "resources.memory_children", "resources.memory_tmp", "resources.memory_shm",
			"resources.memory_memfd", "resources.memory_sockets", "resources.memory_pipes",
		}},
		"pids": {func(l *sandbox.Limits) { l.Pids *= 6 }, []string{"resources.fork", "resources.fork_storm", "resources.threads"}},
		"cpu":  {func(l *sandbox.Limits) { l.CPU *= 4 }, []string{"resources.cpu"}},
		"tmp":  {func(l *sandbox.Limits) { l.TmpBytes *= 4 }, []string{"resources.disk"}},
	} {
		t.Run(name, func(t *testing.T) {
			mustFail(t, nil, func(ctx context.Context, s sandbox.Spec) (*sandbox.Instance, error) {
				c.raise(&s.Limits)
				return m.Launch(ctx, s)
			}, c.fails)
		})
	}
}

// TestAHurtVictimIsSeen ends the victim during an attack.
func TestAHurtVictimIsSeen(t *testing.T) {
	m := manager(t, testenv.Driver(t), normally)
	var victim *sandbox.Instance
	mustFail(t, nil, func(ctx context.Context, s sandbox.Spec) (*sandbox.Instance, error) {
		i, err := m.Launch(ctx, s)
		if victim == nil {
			victim = i
		} else {
			victim.Stop(ctx, 0)
		}
		return i, err
	}, []string{"resources.log_line"})
}

// TestWhatTheHostMissesIsSeen lies to the manager about what the driver reports.
func TestWhatTheHostMissesIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		driver careless
		fails  []string
	}{
		"memory events": {careless{status: func(s *sandbox.Status) { s.OOMKilled = false }}, []string{"resources.memory"}},
		"line length":   {careless{text: func(s string) string { return s + s[:len(s)/2] }}, []string{"resources.log_line"}},
		"text":          {careless{text: func(s string) string { return s[:len(s)-len(s)/4] + "\xff" }}, []string{"resources.log_binary"}},
		"nsjail's word": {careless{status: func(s *sandbox.Status) { s.Err = context.Canceled }}, []string{"control.exit_code"}},
		"frames":        {careless{believe: true}, []string{"control.garbage", "control.false_reason"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.driver.Driver = testenv.Driver(t)
			m := manager(t, c.driver, 5*time.Second)
			mustFail(t, nil, m.Launch, c.fails)
		})
	}
}

// careless is a driver that changes what its sandboxes say.
type careless struct {
	sandbox.Driver
	status func(*sandbox.Status)
	text   func(string) string
	// believe replaces all that a program says after its first word by that it was taken and has started.
	believe bool
	guard   func() *egress.Guard // instead of the manager's, where there is one
}

func (d careless) Launch(ctx context.Context, l sandbox.Launch) (sandbox.Sandbox, error) {
	if output := l.Output; d.text != nil {
		l.Output = func(line sandbox.Line) {
			if line.Text != "the last line" {
				line.Text = d.text(line.Text)
			}
			output(line)
		}
	}
	if d.guard != nil && l.Network != nil {
		l.Network = d.guard()
	}
	s, err := d.Driver.Launch(ctx, l)
	if err != nil {
		return nil, err
	}
	return &carelessSandbox{Sandbox: s, driver: d}, nil
}

type carelessSandbox struct {
	sandbox.Sandbox
	driver careless
}

func (s *carelessSandbox) Control() net.Conn {
	if !s.driver.believe {
		return s.Sandbox.Control()
	}
	words := "\x00\x00\x00\x11" + `{"event":"taken"}` + "\x00\x00\x00\x1f" + `{"event":"started","routes":[]}`
	return &gullible{Conn: s.Sandbox.Control(), words: strings.NewReader(words)}
}

// gullible is a control connection on which all frames but the first are always the same.
type gullible struct {
	net.Conn
	reads int
	words io.Reader
}

func (g *gullible) Read(p []byte) (int, error) {
	if g.reads++; g.reads > 2 { // the first frame has a head and a body
		_, _ = g.Conn.Read(make([]byte, 1)) // until there is a second
		return g.words.Read(p)
	}
	return g.Conn.Read(p)
}

func (s *carelessSandbox) Status() sandbox.Status {
	status := s.Sandbox.Status()
	if s.driver.status != nil {
		s.driver.status(&status)
	}
	return status
}

// TestAGivenUpRunEndsAtOnce wants no verdict on what did not run, and nothing left behind.
func TestAGivenUpRunEndsAtOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	m := manager(t, testenv.Driver(t), normally)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := 0
	_, err := selftest.Run(ctx, selftest.Config{Launch: m.Launch, Spec: testenv.Spec(t, "", ""), Only: []string{"kernel"}, Progress: func(selftest.Result) {
		told++
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("%d results were told, error %v", told, err)
	}
	if entries, err := os.ReadDir(os.TempDir()); err != nil || len(entries) > 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}
