package packages

import (
	"slices"
	"testing"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

// TestProcessPools has a program map one of its own functions over worker processes. With any method but fork these start
// as new interpreters that import the program by its name, as they can where uvicorn runs main:app in its directory.
// Python 3.14 uses forkserver where nothing is said, and libraries use spawn where threads make fork unsafe.
func TestProcessPools(t *testing.T) {
	m := newManager(t)
	spec := testenv.Spec(t, "", python)
	spec.Code = readFile(t, directory+"/processes.py")
	for _, method := range []string{"fork", "forkserver", "spawn"} {
		t.Run(method, func(t *testing.T) {
			p := &program{manager: m.Manager, spec: spec}
			defer p.stop()
			p.start(t)
			var squares []int
			if err := p.get(t, "/"+method, &squares); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(squares, []int{0, 1, 4, 9}) {
				t.Errorf("the squares are %v", squares)
			}
		})
	}
}

// TestThreadsFollowTheCPULimit looks at the libraries that make as many threads as the machine has cores when nothing
// tells them another number. More than a sandbox may use slow it down, since they wait for one another while throttled,
// and on a machine of many cores they go over its process limit.
func TestThreadsFollowTheCPULimit(t *testing.T) {
	m := newManager(t)
	p := &program{manager: m.Manager, spec: testenv.Spec(t, readFile(t, directory+"/science.txt"), python)}
	p.spec.Code = readFile(t, directory+"/threads.py")
	p.spec.Limits = sandbox.Limits{MemoryBytes: roomy.MemoryBytes, CPU: 1}
	defer p.stop()
	p.start(t)
	var threads map[string]int
	if err := p.get(t, "/", &threads); err != nil {
		t.Fatal(err)
	}
	for _, library := range []string{"openblas", "openmp", "numba", "polars", "pyarrow"} {
		if threads[library] != 1 {
			t.Errorf("%s has %d threads, want 1 for one core", library, threads[library])
		}
	}
}
