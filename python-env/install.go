package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// install makes the environment of a lock in the scratch directory and compiles it.
func (b *Builder) install(ctx context.Context, s scratch, interp Interpreter, l lock, say func(string)) error {
	requirements := s.requirements()
	if err := errors.Join(os.WriteFile(requirements, []byte(b.lockForUV(l)), 0o644), os.Chmod(requirements, 0o644)); err != nil {
		return fmt.Errorf("write the locked requirements: %w", err)
	}
	uv := func(what string, args ...string) error {
		out, err := b.run(ctx, command{
			argv: append([]string{b.cfg.UV}, args...), dir: s.work, env: b.uvEnviron(s), onLine: say,
			at: b.at(s, interp, true),
		})
		if err != nil {
			return uvError(what, err, out.stderr, nil)
		}
		return nil
	}
	if err := b.makeVenv(s, interp); err != nil {
		return err
	}
	// uv asks the new environment's python what it is while there is no package in it yet, so nothing of theirs runs.
	sync := append([]string{"pip", "sync", "--no-python-downloads", "--python", filepath.Join(s.env, "bin", "python"), requirements},
		b.uvArgs(s)...)
	if len(l.sources.git) == 0 { // every other line has hashes, which are compared in any case
		sync = append(sync, "--require-hashes")
	}
	if err := uv("install the packages", sync...); err != nil {
		return err
	}
	if err := prune(s.env, interp, len(l.refs) > 0); err != nil {
		return err
	}
	say("compiling byte-code")
	return b.compileBytecode(ctx, s, interp, say)
}

// prune removes what is of use to uv alone, and notes of addresses that mean something in the jail alone.
func prune(env string, interp Interpreter, direct bool) error {
	root, err := os.OpenRoot(env)
	if err != nil {
		return fmt.Errorf("open the environment: %w", err)
	}
	defer func() { _ = root.Close() }()
	_ = root.Remove(".lock")
	if !direct {
		return nil
	}
	// What the code of a package left may be no directory, and a pipe would be waited for.
	packages := filepath.Join("lib", "python"+interp.Minor, "site-packages")
	dir, err := root.OpenFile(packages, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return unwelcome("%s is no directory", packages)
	}
	entries, err := dir.ReadDir(-1)
	err = errors.Join(err, dir.Close())
	for _, e := range entries {
		if e.IsDir() && strings.HasSuffix(e.Name(), ".dist-info") {
			err = errors.Join(err, root.RemoveAll(filepath.Join(packages, e.Name(), "direct_url.json")))
		}
	}
	if err != nil {
		return fmt.Errorf("remove the notes of addresses: %w", err)
	}
	return nil
}
