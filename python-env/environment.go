package pythonenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Environment is a finished environment. Path never changes and nothing below it does. It is meant to be mounted
// read-only at MountPoint, its interpreter's Mounts at their own paths, and started as /env/bin/python -I.
type Environment struct {
	Key         string // 64 hexadecimal digits
	Path        string
	Interpreter Interpreter
	Lock        string // the locked requirements, with hashes; see LockedPackages
	Files       int
	Bytes       int64
	Created     time.Time
	Reused      bool // it existed before this request
}

// manifest is the file in an environment that says what it is; an environment without it is not one.
type manifest struct {
	Layout      string      `json:"layout"`
	Key         string      `json:"key"`
	Created     time.Time   `json:"created"`
	Interpreter Interpreter `json:"interpreter"`
	Files       int         `json:"files"`
	Bytes       int64       `json:"bytes"`
	Lock        string      `json:"lock"`
	Boot        string      `json:"boot,omitempty"`     // of the machine, when it was built, see durableDir
	Contents    string      `json:"contents,omitempty"` // hash of the list of its files; empty: built before there was one
}

const manifestName = "environment.json"

var keyPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readEnvironment reads a finished environment. One whose interpreter has gone is as good as absent.
func readEnvironment(dir, key string) (Environment, error) {
	m, err := readManifest(dir, key)
	if err != nil {
		return Environment{}, err
	}
	if _, err := os.Stat(m.Interpreter.Path); err != nil {
		return Environment{}, fmt.Errorf("find the interpreter: %w", err)
	}
	return Environment{
		Key: key, Path: filepath.Join(dir, key), Interpreter: m.Interpreter, Lock: m.Lock, Files: m.Files, Bytes: m.Bytes, Created: m.Created,
	}, nil
}

func readManifest(dir, key string) (m manifest, err error) {
	if !keyPattern.MatchString(key) {
		return m, errors.New("not a key of an environment")
	}
	text, err := os.ReadFile(filepath.Join(dir, key, manifestName))
	if err != nil {
		return m, fmt.Errorf("read the manifest: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("read the manifest: %w", err)
	}
	if m.Key != key || m.Layout != layout {
		return m, errors.New("the manifest is another environment's")
	}
	return m, checkDurable(dir, m)
}

func writeManifest(env string, m manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	if err := writeNew(filepath.Join(env, manifestName), append(text, '\n')); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	return nil
}

// remembered returns the environment that the same input led to before.
func (b *Builder) remembered(ctx context.Context, input string) (Environment, bool) {
	key, err := os.ReadFile(b.path(inputsDir, input))
	if err != nil {
		return Environment{}, false
	}
	env, ok := b.use(ctx, string(key))
	env.Reused = ok
	return env, ok
}

// remember notes what an input led to. A note that is lost costs one resolution.
func (b *Builder) remember(input, key string) error {
	aside, err := os.CreateTemp(b.path(inputsDir), ".new-")
	if err != nil {
		return fmt.Errorf("note the environment: %w", err)
	}
	defer os.Remove(aside.Name())
	_, err = aside.WriteString(key)
	if err = errors.Join(err, aside.Close()); err == nil {
		err = os.Rename(aside.Name(), b.path(inputsDir, input))
	}
	if err != nil {
		return fmt.Errorf("note the environment: %w", err)
	}
	return nil
}
