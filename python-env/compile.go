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

// maxCompilers bounds the processes that compile one environment.
const maxCompilers = 4

// module is a source file of an environment.
type module struct {
	path string // below the environment
	size int64
}

// compilation is what one process of the compiler does: with a key, its result is kept for other environments.
type compilation struct {
	modules []module
	key     string
}

// compiler is a program for the interpreter: compileall with a place for the result that is not beside the sources. The modules
// that it needs come first, because they would be looked for there, too.
const compiler = `import sys, compileall, argparse, concurrent.futures
sys.pycache_prefix = sys.argv.pop(1)
sys.exit(not compileall.main())`

// compileBytecode compiles all modules for the place where sandboxes will see them. The interpreter runs without site
// (-S), or .pth files of the packages would execute. A process sees the environment read-only, and none sees what another one
// writes: a source that took over the compiler could change the code of what is compiled beside it and nothing else.
func (b *Builder) compileBytecode(ctx context.Context, s scratch, interp Interpreter, say func(string)) error {
	modules, err := listModules(s.env, b.cfg.MaxBytes)
	if err != nil {
		return err
	}
	env, err := os.OpenRoot(s.env)
	if err != nil {
		return fmt.Errorf("open the environment: %w", err)
	}
	defer func() { _ = env.Close() }()
	to := &target{env: env, interp: interp}
	to.room.Store(b.cfg.MaxBytes)
	jobs, err := b.compilations(s.env, interp, modules)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(min(maxCompilers, runtime.NumCPU()))
	for i, job := range jobs {
		group.Go(func() error {
			if job.key != "" && to.restore(b.path(bytecodeDir, job.key), job.modules) {
				return nil
			}
			return b.compileOne(groupCtx, s, job, to, fmt.Sprintf("compiled-%d", i), say)
		})
	}
	return group.Wait()
}

// compileOne runs the compiler and moves its result to the environment. A file that crashes the compiler costs no more than what
// is compiled after it: what is not compiled is compiled at each import.
func (b *Builder) compileOne(
	ctx context.Context, s scratch, job compilation, to *target, name string, say func(string),
) error {
	interp := to.interp
	out := filepath.Join(s.top, name)
	if err := errors.Join(os.Mkdir(out, 0o700), os.Lchown(out, int(b.cfg.BuildUID), int(b.cfg.BuildGID))); err != nil {
		return fmt.Errorf("make a place for byte-code: %w", err)
	}
	var list strings.Builder
	for _, m := range job.modules {
		list.WriteString(filepath.Join(s.env, m.path) + "\n")
	}
	ran, err := b.run(ctx, command{
		argv: []string{
			interp.Path, "-I", "-S", "-c", compiler, out, "-q", "-f", "--invalidation-mode", "unchecked-hash",
			"-s", s.env, "-p", MountPoint, "-i", "-",
		},
		dir: out, env: []string{"PATH=/usr/bin:/bin", "HOME=" + out, "TMPDIR=" + out, "LANG=C.UTF-8"}, stdin: list.String(),
		at: &place{scratch: s, readOnly: append(slices.Clone(interp.Mounts), interp.Path, s.env), writable: []string{out}},
	})
	if ended := context.Cause(ctx); ended != nil {
		return ended
	}
	var tooMuch *BuildError // of memory or disk
	if errors.Is(err, errDiskFull) || errors.As(err, &tooMuch) {
		return err
	}
	if err != nil {
		say("some modules were not compiled: " + firstLine(string(ran.stdout)+ran.stderr))
		job.key = ""
	}
	kept := &keptBytecode{}
	if job.key != "" {
		kept = b.newKept()
		defer kept.drop()
	}
	from, err := os.OpenRoot(out)
	if err != nil {
		return fmt.Errorf("open the byte-code: %w", err)
	}
	defer func() { _ = from.Close() }()
	moved, err := to.move(ctx, from, strings.TrimPrefix(s.env, "/"), job.modules, kept)
	if err != nil {
		return err
	}
	if moved == len(job.modules) {
		kept.keep(b.path(bytecodeDir, job.key))
	}
	return nil
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

// listModules lists the sources of an environment. Together they may have so many bytes at most: all are read to be hashed, and those of
// a file with holes cost a build nothing.
func listModules(env string, limit int64) ([]module, error) {
	var modules []module
	var sum int64
	err := filepath.WalkDir(filepath.Join(env, "lib"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".py") || strings.ContainsAny(path, "\n\r") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if sum += info.Size(); sum > limit {
			return tooLargeToKeep(limit)
		}
		rel, err := filepath.Rel(env, path)
		modules = append(modules, module{rel, info.Size()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the modules: %w", err)
	}
	return modules, nil
}

// keptBytes is how much source a package must have for its byte-code to be kept: a process of the compiler costs as much as
// compiling some of it.
const keptBytes = 64 << 10

// compilations splits modules: every larger package is one, the rest are parts of about equal size. The largest come first.
func (b *Builder) compilations(env string, interp Interpreter, modules []module) ([]compilation, error) {
	packages := map[string][]module{}
	for _, m := range modules {
		packages[packageOf(m.path)] = append(packages[packageOf(m.path)], m)
	}
	var jobs []compilation
	var rest []module
	for name, list := range packages {
		if name == "" || sizeOf(list) < keptBytes {
			rest = append(rest, list...)
			continue
		}
		jobs = append(jobs, compilation{modules: list})
	}
	slices.SortFunc(jobs, func(a, b compilation) int { return cmp.Compare(sizeOf(b.modules), sizeOf(a.modules)) })
	if err := hashJobs(env, interp, jobs); err != nil {
		return nil, err
	}
	for _, part := range share(rest, min(maxCompilers, runtime.NumCPU())) {
		jobs = append(jobs, compilation{modules: part})
	}
	return jobs, nil
}

// packageOf is the directory of site-packages that a module is in, "" for one that is in none.
func packageOf(path string) string {
	_, inside, _ := strings.Cut(path, "/site-packages/")
	name, _, found := strings.Cut(inside, "/")
	if !found {
		return ""
	}
	return name
}

func sizeOf(modules []module) (sum int64) {
	for _, m := range modules {
		sum += m.size + 500 // opening a file costs as much as compiling some of it
	}
	return sum
}

// hashJobs names each compilation by everything that its result follows from.
func hashJobs(env string, interp Interpreter, jobs []compilation) error {
	return severally(len(jobs), func(i int, buffer []byte) error {
		parts := []string{layout, bytecodeFormat, compiler, interp.Version, interp.Implementation, interp.Platform, interp.Path}
		for _, m := range jobs[i].modules {
			sum, err := hashFile(filepath.Join(env, m.path), buffer)
			if err != nil {
				return fmt.Errorf("hash the modules: %w", err)
			}
			parts = append(parts, m.path, sum)
		}
		jobs[i].key = hashOf(parts...)
		return nil
	})
}

// share splits modules into parts of about equal size.
func share(modules []module, parts int) [][]module {
	slices.SortFunc(modules, func(a, b module) int { return cmp.Compare(b.size, a.size) })
	split, sizes := make([][]module, parts), make([]int64, parts)
	for _, m := range modules {
		least := slices.Index(sizes, slices.Min(sizes))
		split[least] = append(split[least], m)
		sizes[least] += sizeOf([]module{m})
	}
	return slices.DeleteFunc(split, func(part []module) bool { return len(part) == 0 })
}
