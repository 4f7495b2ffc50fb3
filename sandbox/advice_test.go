package sandbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"apibuilder/egress"
)

// A program that prints that it is at a limit is told so once, below what it prints and in the error of a start.
func TestAdvice(t *testing.T) {
	for name, c := range map[string]struct{ egress, sign, advice string }{
		"no network":   {"none", "socket.gaierror: [Errno -3] Temporary failure in name resolution", noNetwork},
		"unreachable":  {"none", "OSError: [Errno 101] Network is unreachable", noNetwork},
		"some network": {"internet", "socket.gaierror: [Errno -3] Temporary failure in name resolution", ""},
		"threads":      {"none", "RuntimeError: can't start new thread", "the program may have 7 processes and threads at a time: --pids allows more"},
		"disk":         {"none", "OSError: [Errno 28] No space left on device: '/tmp/x'", "the program's /tmp holds 5 MiB: keep less there, or what matters in a database"},
		"none":         {"none", "ValueError: x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			policy, err := egress.Parse(c.egress)
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			managed(t, func(o order, s *fakeSandbox) {
				s.output(Line{Stream: "stderr", Text: c.sign})
				s.output(Line{Stream: "stderr", Text: c.sign})
				s.say(event{Event: "failed", Reason: StartupFailed, Detail: "Traceback\n" + c.sign + "\n"})
			}, func(t *testing.T, m *Manager, _ *fakeDriver) {
				_, err := m.Acquire(t.Context(), "api_a")
				exit, ok := errors.AsType[*Exit](err)
				if !ok || !strings.HasSuffix(exit.Detail, c.sign+"\n"+c.advice) {
					t.Errorf("error %+v", err)
				}
				want := []string{"stderr " + c.sign, "stderr " + c.sign}
				switch c.advice {
				case "":
				case noNetwork:
					want = slices.Insert(want, 1, "egress "+c.advice)
				default:
					want = slices.Insert(want, 1, "sandbox "+c.advice)
				}
				if !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
			}, func(cfg *ManagerConfig) {
				cfg.Egress = egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: policy}})
				cfg.OnOutput = func(_ string, _ int, l Line) { told = append(told, l.Stream+" "+l.Text) }
				cfg.Source = func(_ context.Context, api string, version int) (Spec, error) {
					limits := Limits{MemoryBytes: 64 << 20, CPU: 1, Pids: 7, TmpBytes: 5 << 20}
					return Spec{API: api, Version: version, Egress: policy, Limits: limits}, nil
				}
			})
		})
	}
}
