package selftest

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"apibuilder/sandbox"
)

//go:embed inside/*.py
var inside embed.FS

const (
	answerLimit = 4 << 20
	stopGrace   = 300 * time.Millisecond
)

// launch is what goes into one sandbox.
type launch struct {
	files  []string // of inside/, after the prelude
	limits sandbox.Limits
	attack string // which one of control.py
	secret string // an environment variable of its own

	network bool // it may reach the public network by Config.Network
}

// scene is one sandbox with a program of ours in it.
type scene struct {
	*sandbox.Instance
	mark   string // the name of its process, unlike any other's
	limits sandbox.Limits
}

// given is what a program is told, as JSON in the variable SELFTEST.
type given struct {
	Mark   string `json:"mark"`
	Attack string `json:"attack"`
	Memory int64  `json:"memory"`
	Tmp    int64  `json:"tmp"`
	Pids   int    `json:"pids"`
	baitNames
}

// launch starts a program made from files.
func (r *run) launch(ctx context.Context, l launch) (*scene, error) {
	code, err := source(append([]string{"prelude"}, l.files...))
	if err != nil {
		return nil, err
	}
	s := &scene{mark: "st-" + randomHex(6), limits: l.limits}
	told, err := json.Marshal(given{
		Mark: s.mark, Attack: l.attack, Memory: l.limits.MemoryBytes, Tmp: l.limits.TmpBytes, Pids: l.limits.Pids,
		baitNames: r.bait.names,
	})
	if err != nil {
		return nil, fmt.Errorf("encode what the program is told: %w", err)
	}
	spec := r.cfg.Spec
	spec.API, spec.Version, spec.RootPath, spec.Code, spec.Limits = "selftest", 1, "/run/selftest", code, l.limits
	spec.Env = map[string]string{"SELFTEST": string(told)}
	if l.secret != "" {
		spec.Env["SECRET"] = l.secret
	}
	if l.network {
		spec.Egress = public
	}
	if s.Instance, err = r.cfg.Launch(ctx, spec); err != nil {
		return s, explain(err)
	}
	return s, nil
}

// explain adds to an exit what its author would read.
func explain(err error) error {
	if exit, ok := errors.AsType[*sandbox.Exit](err); ok {
		return fmt.Errorf("%w: %s %s", err, exit.Detail, exit.Output)
	}
	return err
}

func source(files []string) (string, error) {
	var code []byte
	for _, name := range files {
		text, err := inside.ReadFile("inside/" + name + ".py")
		if err != nil {
			return "", fmt.Errorf("find a program of the self-test: %w", err)
		}
		code = append(append(code, text...), '\n')
	}
	return string(code), nil
}

// get asks the program for a path. What it answers beyond a bound is an error, as is another status than 200.
func (s *scene) get(ctx context.Context, path string, patience time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandbox"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.Transport().RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask for %s: %w", path, err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("ask for %s: status %d: %.200s %s", path, resp.StatusCode, body, s.Output())
	case len(body) > answerLimit:
		return nil, fmt.Errorf("ask for %s: the answer is longer than %d bytes", path, answerLimit)
	}
	return body, nil
}

// ask decodes the JSON that a path answers.
func ask[T any](ctx context.Context, s *scene, path string, patience time.Duration) (T, error) {
	var v T
	body, err := s.get(ctx, path, patience)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("decode the answer of %s: %w", path, err)
	}
	return v, nil
}

// end stops the sandbox, by force soon.
func (s *scene) end() { s.Stop(context.Background(), stopGrace) }

// ended waits for the sandbox to end by itself; nil when it does not within patience.
func (s *scene) ended(ctx context.Context, patience time.Duration) *sandbox.Exit {
	select {
	case <-s.Done():
		return s.Exit()
	case <-ctx.Done():
	case <-time.After(patience):
	}
	return nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}
