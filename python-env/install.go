package pythonenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
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
	if err := prune(s.env, len(l.refs) > 0); err != nil {
		return err
	}
	say("compiling byte-code")
	return b.compileBytecode(ctx, s, interp, say)
}

// prune removes what is of use to uv alone, and notes of addresses that mean something in the jail alone.
func prune(env string, direct bool) error {
	root, err := os.OpenRoot(env)
	if err != nil {
		return fmt.Errorf("open the environment: %w", err)
	}
	defer func() { _ = root.Close() }()
	_ = root.Remove(".lock")
	if !direct {
		return nil
	}
	notes, err := fs.Glob(root.FS(), "lib/*/site-packages/*.dist-info/direct_url.json")
	for _, note := range notes {
		err = errors.Join(err, root.Remove(note))
	}
	if err != nil {
		return fmt.Errorf("remove the notes of addresses: %w", err)
	}
	return nil
}

// maxCompilers bounds the processes that compile one environment.
const maxCompilers = 4

// compileBytecode compiles all modules for the place where sandboxes will see them. The interpreter runs without site
// (-S), or .pth files of the packages would execute. Each process gets a part of the files, so that a file which crashes
// the compiler costs no more than the rest of its part: what is not compiled is compiled at each import.
func (b *Builder) compileBytecode(ctx context.Context, s scratch, interp Interpreter, say func(string)) error {
	parts, err := share(s.env, min(maxCompilers, runtime.NumCPU()))
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, files := range parts {
		group.Go(func() error {
			out, err := b.run(groupCtx, command{
				argv: []string{
					interp.Path, "-I", "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash",
					"-s", s.env, "-p", MountPoint, "-i", "-",
				},
				dir: s.work, env: []string{"PATH=/usr/bin:/bin", "HOME=" + s.home, "TMPDIR=" + s.tmp, "LANG=C.UTF-8"},
				stdin: strings.Join(files, "\n") + "\n", at: b.at(s, interp, false),
			})
			if ended := context.Cause(groupCtx); ended != nil {
				return ended
			}
			var tooMuch *BuildError // of memory or disk
			if errors.Is(err, errDiskFull) || errors.As(err, &tooMuch) {
				return err
			}
			if err != nil {
				say("some modules were not compiled: " + firstLine(string(out.stdout)+out.stderr))
			}
			return nil
		})
	}
	return group.Wait()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, line)
}

// share splits the environment's modules into parts of about equal size, the largest files first.
func share(env string, parts int) ([][]string, error) {
	type module struct {
		path string
		size int64
	}
	var modules []module
	err := filepath.WalkDir(filepath.Join(env, "lib"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".py") || strings.ContainsAny(path, "\n\r") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			modules = append(modules, module{path, info.Size()})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the modules: %w", err)
	}
	slices.SortFunc(modules, func(a, b module) int { return cmp.Compare(b.size, a.size) })
	files, sizes := make([][]string, parts), make([]int64, parts)
	for _, m := range modules {
		least := slices.Index(sizes, slices.Min(sizes))
		files[least] = append(files[least], m.path)
		sizes[least] += m.size + 500 // opening a file costs as much as compiling some of it
	}
	return slices.DeleteFunc(files, func(part []string) bool { return len(part) == 0 }), nil
}
