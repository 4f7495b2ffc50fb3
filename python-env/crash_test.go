package pythonenv

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// wheelsFor makes n packages, and the requirements that name each of them.
func wheelsFor(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("apibuilder_set_%d", i))
	}
	return names
}

func TestAHundredDeploysOfTenSets(t *testing.T) {
	names := wheelsFor(10)
	b, _ := folderBuilder(t, names...)
	counting := &countingJail{}
	b.cfg.Workers, b.cfg.Jail = 2, counting
	type result struct {
		env Environment
		err error
		set int
	}
	results := make(chan result, 100)
	for i := range 100 {
		go func() {
			env, err := b.Ensure(context.Background(), Request{Requirements: names[i%10], Python: systemMinor(t, b)})
			results <- result{env, err, i % 10}
		}()
	}
	keys := map[string]int{}
	for range 100 {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		if set, ok := keys[r.env.Key]; ok && set != r.set {
			t.Errorf("sets %d and %d share %s", set, r.set, r.env.Key)
		}
		keys[r.env.Key] = r.set
	}
	all, err := b.List()
	if err != nil || len(all) != 10 || len(keys) != 10 {
		t.Errorf("%d environments, %d keys, %v", len(all), len(keys), err)
	}
	if counting.installed != 10 {
		t.Errorf("%d builds", counting.installed)
	}
	for key := range keys {
		if found, err := b.Verify(t.Context(), key); err != nil || len(found) > 0 {
			t.Errorf("%s: %v, %v", key, found, err)
		}
	}
	noneLeft(t, b)
}

// TestWorkersAreBounded starts more builds than there are workers, and counts those that run at a time.
func TestWorkersAreBounded(t *testing.T) {
	names := wheelsFor(6)
	b, _ := folderBuilder(t, names...)
	counting := &countingJail{}
	b.cfg.Jail = counting
	var waited sync.Map
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			_, err := b.Ensure(context.Background(), Request{Requirements: name, Progress: func(l string) { waited.Store(l, true) }})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// A build runs one uv or the parts of the compiler at a time.
	if most := counting.most; most > 2*maxCompilers {
		t.Errorf("%d programs at a time", most)
	}
	if counting.uvs > 2 {
		t.Errorf("%d runs of uv at a time", counting.uvs)
	}
	if _, ok := waited.Load("waiting for other builds"); !ok {
		t.Error("nobody was told to wait")
	}
}

// childThatBuilds is the process of the next test: it builds one environment after the other and says when it begins.
func childThatBuilds(dir string) {
	tools.Nsjail, tools.UV = os.Getenv("PYTHONENV_TEST_NSJAIL"), os.Getenv("PYTHONENV_TEST_REAL")
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "the child ended:", err)
		os.Exit(1)
	}
	var err error
	if jail, err = openJail(tools.Nsjail, filepath.Dir(dir)); err != nil {
		fail(err)
	}
	cfg := testConfig(dir)
	cfg.IndexURL, cfg.FindLinks, cfg.Offline = "", []string{os.Getenv("PYTHONENV_TEST_LINKS")}, true
	b := New(cfg)
	if err := b.Start(context.Background()); err != nil {
		fail(err)
	}
	for _, name := range strings.Fields(os.Getenv("PYTHONENV_TEST_SETS")) {
		fmt.Println("builds", name)
		if _, err := b.Ensure(context.Background(), Request{Requirements: name}); err != nil {
			fail(err)
		}
	}
	fmt.Println("builds nothing")
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until it is killed
}

func TestKilledAtRandomMoments(t *testing.T) {
	const builds, afterOne = 50, 4 // one of four is killed after its first build
	names := wheelsFor(builds)
	_, cfg := folderBuilder(t, names...)
	dir := cfg.Dir
	for i := range builds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "PYTHONENV_TEST_BUILDS="+dir, "PYTHONENV_TEST_LINKS="+cfg.FindLinks[0],
			"PYTHONENV_TEST_SETS="+strings.Join(names[i:], " "), "PYTHONENV_TEST_NSJAIL="+tools.Nsjail, "PYTHONENV_TEST_REAL="+tools.UV)
		child.Stderr = os.Stderr
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdin, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// In the first build, or after it, so that enough of them come to an end however slow the machine is.
		said := bufio.NewReader(stdout)
		lines := 1
		if i%afterOne == 0 {
			lines = 2
		}
		for range lines {
			if line, err := said.ReadString('\n'); err != nil || !strings.HasPrefix(line, "builds ") {
				t.Fatal(line, err)
			}
		}
		time.Sleep(rand.N(600 * time.Millisecond)) // a build takes some 300 ms
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		stdin.Close()
		// What is there now is whole: looked at before any other builder starts, as a server would that finds it.
		checkWhole(t, dir)
	}
	b := started(t, cfg)
	noneLeft(t, b)
	all, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d environments were built by children that were killed", len(all))
	if len(all) < builds/afterOne {
		t.Errorf("only %d builds came to an end", len(all))
	}
	for _, i := range all {
		age(t, b, i.Key, 48*time.Hour)
	}
	if gone, err := b.Prune(t.Context(), Policy{Keep: time.Hour, CacheBytes: 1}); err != nil || len(gone) != len(all) {
		t.Errorf("%d of %d went, %v", len(gone), len(all), err)
	}
	envs, cache, err := b.DiskBytes()
	if err != nil || envs > 512<<10 || cache > 64<<10 {
		t.Errorf("%d KiB and %d KiB of cache are left, %v", envs>>10, cache>>10, err)
	}
	ensure(t, b, "apibuilder_set_0") // and goes on
}

func checkWhole(t *testing.T, dir string) {
	t.Helper()
	b := New(testConfig(dir))
	all, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if found, err := b.Verify(t.Context(), i.Key); err != nil || i.Broken != "" || len(found) > 0 {
			t.Errorf("%s is not whole: %s, %v, %v", i.Key, i.Broken, found, err)
		}
	}
}
