// Package packages shows that the packages which authors of APIs use most do their work in a sandbox. It holds tests only.
package packages

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

var update = flag.Bool("update", false, "measure each package's memory and write docs/packages.md anew")

// python is what all of these packages have wheels for.
const python = "3.11"

// roomy is what an author asks for whose program does science; what needs more than the default says the document.
var roomy = sandbox.Limits{MemoryBytes: 1 << 30, Pids: 128}

// TestPackages has every program use its packages, one after the other in one sandbox for each program.
func TestPackages(t *testing.T) {
	m := newManager(t)
	groups := readGroups(t)
	count := 0
	for _, g := range groups {
		count += len(g.uses)
		t.Run(g.name, func(t *testing.T) {
			spec := testenv.Spec(t, g.requirements, python)
			spec.Code = g.code
			spec.Limits = roomy
			p := &program{manager: m.Manager, spec: spec}
			for _, u := range g.uses {
				t.Run(u.pkg, func(t *testing.T) {
					p.start(t)
					if err := p.use(t, u); err != nil {
						t.Error(err)
					}
				})
			}
			p.stop() // what it was refused has been told by then
			if told := m.told(); len(told) > 0 {
				t.Errorf("the sandbox says: %s", strings.Join(told, "; "))
			}
		})
	}
	if count < 40 {
		t.Errorf("%d packages are shown, want 40 or more", count)
	}
}

// TestDocument writes the document when asked to.
func TestDocument(t *testing.T) {
	if !*update {
		return
	}
	m := newManager(t)
	groups := readGroups(t)
	measured := map[string]memory{}
	for _, g := range groups {
		spec := testenv.Spec(t, g.requirements, python)
		spec.Code = g.code
		for _, u := range g.uses {
			measured[u.pkg] = measure(t, m, spec, u)
		}
	}
	before, _, _ := strings.Cut(readFile(t, document), "\n## ")
	text := before + "\n" + table(groups, measured)
	if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// measure has a sandbox of its own use one package, by default limits where they are enough.
func measure(t *testing.T, m *manager, spec sandbox.Spec, u use) memory {
	t.Helper()
	var tries []error
	for _, limits := range []sandbox.Limits{{}, roomy} {
		spec.Limits = limits
		p := &program{manager: m.Manager, spec: spec}
		p.start(t)
		before := p.memory(t)
		err := p.use(t, u)
		if err == nil {
			used := memory{p.memory(t) - before, len(tries) == 0}
			p.stop()
			return used
		}
		p.stop()
		tries = append(tries, err)
		t.Logf("%s with %+v: %v", u.pkg, limits, err)
	}
	t.Errorf("%s: %v", u.pkg, errors.Join(tries...))
	return memory{}
}

// manager keeps what the sandboxes say of themselves, beside what the programs print: refused system calls above all.
type manager struct {
	*sandbox.Manager
	mu    sync.Mutex
	lines []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{}
	m.Manager = sandbox.NewManager(sandbox.ManagerConfig{
		Driver: testenv.Driver(t),
		Source: func(context.Context, string, int) (sandbox.Spec, error) {
			return sandbox.Spec{}, errors.New("this test launches by hand")
		},
		StartTimeout: time.Minute,
		OnOutput:     m.printed,
	})
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

func (m *manager) printed(_ string, _ int, line sandbox.Line) {
	if line.Stream != "sandbox" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line.Text)
}

// told returns what was said since it was called last.
func (m *manager) told() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := m.lines
	m.lines = nil
	return lines
}

// program is one of testdata/packages with the sandbox that it runs in.
type program struct {
	manager  *sandbox.Manager
	spec     sandbox.Spec
	instance *sandbox.Instance // nil before start, and when it ended by itself
}

// start starts it where it does not run: for the first time, or because a package ended it.
func (p *program) start(t *testing.T) {
	t.Helper()
	if p.instance != nil && p.instance.Exit() == nil {
		return
	}
	p.spec.API, p.spec.Version, p.spec.RootPath = "api_packages", 1, "/run/api_packages"
	i, err := p.manager.Launch(t.Context(), p.spec)
	if err != nil {
		var exit *sandbox.Exit
		if errors.As(err, &exit) {
			t.Fatalf("start the program: %v: %s\n%s", err, exit.Detail, exit.Output)
		}
		t.Fatalf("start the program: %v", err)
	}
	p.instance = i
}

func (p *program) stop() {
	if p.instance != nil {
		p.instance.Stop(context.Background(), 5*time.Second)
	}
}

// use has the program use a package, at the version that is required. The error has the program's traceback, or how its
// sandbox ended.
func (p *program) use(t *testing.T, u use) error {
	t.Helper()
	var answer struct{ Version, Remark string }
	if err := p.get(t, "/use/"+u.pkg, &answer); err != nil {
		return err
	}
	if answer.Version != u.version {
		return fmt.Errorf("the program has version %q of %s, the requirements say %q", answer.Version, u.pkg, u.version)
	}
	if answer.Remark != "" {
		t.Log(answer.Remark)
	}
	return nil
}

func (p *program) memory(t *testing.T) int64 {
	t.Helper()
	var bytes int64
	if err := p.get(t, "/memory", &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

func (p *program) get(t *testing.T, path string, answer any) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandbox"+path, nil)
	if err != nil {
		return err
	}
	resp, err := p.instance.Transport().RoundTrip(req)
	if err != nil {
		return p.explain(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return p.explain(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d\n%s\nThe program printed:\n%s", path, resp.StatusCode, body, p.instance.Output())
	}
	return json.Unmarshal(body, answer)
}

// explain adds to a broken exchange how the sandbox ended.
func (p *program) explain(ctx context.Context, err error) error {
	select {
	case <-p.instance.Done():
		exit := p.instance.Exit()
		return fmt.Errorf("%w: %w: %s\n%s", err, exit, exit.Detail, exit.Output)
	case <-time.After(3 * time.Second): // its end is known shortly after its connections break
	case <-ctx.Done():
	}
	return fmt.Errorf("%w\nThe program printed:\n%s", err, p.instance.Output())
}
