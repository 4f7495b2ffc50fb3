package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/postgres"
	"apibuilder/store/sqlite"
	"apibuilder/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// below is a store of each driver, opened again by each call.
func below(t *testing.T, driver string) func() Below {
	t.Helper()
	path, url := filepath.Join(t.TempDir(), "apibuilder.db"), ""
	if driver == "postgres" {
		url = pgtest.Database(t)
	}
	return func() Below {
		var st Below
		var err error
		if driver == "postgres" {
			st, err = postgres.Open(t.Context(), postgres.Options{URL: url})
		} else {
			st, err = sqlite.Open(t.Context(), path)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		return st
	}
}

func onBoth(t *testing.T, test func(t *testing.T, open func() Below)) {
	for _, driver := range []string{"sqlite", "postgres"} {
		t.Run(driver, func(t *testing.T) { test(t, below(t, driver)) })
	}
}

func openLayer(t *testing.T, st Below, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), st, path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return openLayer(t, below(t, "sqlite")(), filepath.Join(t.TempDir(), "secrets.key"))
	})
}

var secrets = map[string]string{"TOKEN": "s3cret-value", "EMPTY": "", "QUOTED": "\"\\\n\u2028"}

func addVersion(t *testing.T, s store.Store, api string, env map[string]string) store.Version {
	t.Helper()
	if _, err := s.CreateAPI(t.Context(), store.API{ID: api, Name: strings.ReplaceAll(api, "_", "-"), UserID: store.OperatorID}); err != nil {
		t.Fatal(err)
	}
	v, err := s.AddVersion(t.Context(), store.Version{APIID: api, Code: "x", Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantEnv(t *testing.T, s store.Store, api string, want map[string]string) {
	t.Helper()
	v, err := s.Version(t.Context(), api, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Env) != len(want) {
		t.Fatalf("%s has %d variables, want %d", api, len(v.Env), len(want))
	}
	for name, value := range want {
		if v.Env[name] != value {
			t.Fatalf("%s of %s is %q", name, api, v.Env[name])
		}
	}
}

// wantSealed looks below the layer.
func wantSealed(t *testing.T, st Below, n int) {
	t.Helper()
	seen := 0
	_, err := st.RewriteEnv(t.Context(), func(_ string, _ int, env map[string]string) (map[string]string, error) {
		seen++
		for name, value := range env {
			if strings.Contains(name+value, "s3cret") || name == "TOKEN" || len(env) != 1 {
				t.Errorf("below the layer there is %s", name)
			}
		}
		return env, nil
	})
	if err != nil || seen != n {
		t.Fatalf("%d environments, want %d, %v", seen, n, err)
	}
}

func TestSecretsAreSealedBelow(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() Below) {
		path := filepath.Join(t.TempDir(), "secrets.key")
		s := openLayer(t, open(), path)
		addVersion(t, s, "api_1", secrets)
		addVersion(t, s, "api_2", nil)
		wantEnv(t, s, "api_1", secrets)
		wantEnv(t, s, "api_2", nil)
		all, err := s.FindVersions(t.Context(), store.VersionFilter{APIID: "api_1"})
		if err != nil || len(all) != 1 || all[0].Env != nil {
			t.Errorf("a list has secrets: %+v, %v", all, err)
		}
		wantSealed(t, open(), 1)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		again := openLayer(t, open(), path)
		wantEnv(t, again, "api_1", secrets)
		if _, err := s.AddVersion(t.Context(), store.Version{APIID: "api_1", Env: map[string]string{variable: "x"}}); err == nil {
			t.Error("a program can have a variable of that name")
		}
	})
}

func TestPlainOnesAreSealedAtTheStart(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() Below) {
		path := filepath.Join(t.TempDir(), "secrets.key")
		plain := open()
		addVersion(t, plain, "api_1", secrets)
		addVersion(t, plain, "api_2", map[string]string{"A": "s3cret-2"})
		s := openLayer(t, open(), path)
		wantEnv(t, s, "api_1", secrets)
		wantSealed(t, plain, 2)
	})
}

// TestNothingPlainIsLeftInTheFile reads the bytes of the database.
func TestNothingPlainIsLeftInTheFile(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "apibuilder.db")
	st, err := sqlite.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	addVersion(t, st, "api_1", map[string]string{"TOKEN": strings.Repeat("s3cret", 5000)})
	addVersion(t, st, "api_2", secrets)
	openLayer(t, st, filepath.Join(dir, "secrets.key"))
	files, _ := filepath.Glob(db + "*")
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "s3cret") {
			t.Errorf("%s has a secret", filepath.Base(name))
		}
	}
}

func TestAKeyFileThatDoesNotFit(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() Below) {
		dir := t.TempDir()
		path := filepath.Join(dir, "secrets.key")
		addVersion(t, openLayer(t, open(), path), "api_1", secrets)
		right, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		refuse := func(what, mentions string) {
			t.Helper()
			st := open()
			_, err := Open(t.Context(), st, path)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), mentions) || strings.Contains(err.Error(), "SECRET-KEY-1Q") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		refuse("a missing file", "put the file there")
		if _, err := os.Stat(path); err == nil {
			t.Error("another file was made")
		}
		if _, err := NewKeyFile(path); err != nil {
			t.Fatal(err)
		}
		refuse("another key", "does not open it")
		for what, text := range map[string]string{"no key": "# nothing\n", "half a key": string(right[:len(right)-9])} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			refuse(what, "no age identity")
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		refuse("a file for everybody", "chmod 600")
		if err := os.WriteFile(path, right, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		wantEnv(t, openLayer(t, open(), path), "api_1", secrets)
	})
}

func TestRotate(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() Below) {
		path := filepath.Join(t.TempDir(), "secrets.key")
		s := openLayer(t, open(), path)
		addVersion(t, s, "api_1", secrets)
		addVersion(t, s, "api_2", secrets)
		first := s.keys.keys[0]
		if n, err := s.Rotate(t.Context(), true, false); err != nil || n != 2 {
			t.Fatalf("%d, %v", n, err)
		}
		wantEnv(t, s, "api_1", secrets)
		f, err := ReadKeyFile(path)
		if err != nil || len(f.keys) != 2 || f.keys[1].String() != first.String() {
			t.Fatalf("%v", err)
		}
		if n, err := s.Rotate(t.Context(), true, true); err != nil || n != 2 {
			t.Fatalf("%d, %v", n, err)
		}
		if f, err = ReadKeyFile(path); err != nil || len(f.keys) != 1 || f.keys[0].String() == first.String() {
			t.Fatalf("%v", err)
		}
		wantEnv(t, openLayer(t, open(), path), "api_2", secrets)

		// Somebody puts another key first, and has everything sealed for that one.
		other, err := NewKeyFile(filepath.Join(t.TempDir(), "k"))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.write(append(other.keys[:1:1], f.keys...), nil); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Rotate(t.Context(), false, true); err != nil || n != 2 {
			t.Fatalf("%d, %v", n, err)
		}
		if f, err = ReadKeyFile(path); err != nil || len(f.keys) != 1 || f.keys[0].String() != other.keys[0].String() {
			t.Fatalf("%v", err)
		}
		wantEnv(t, openLayer(t, open(), path), "api_1", secrets)
	})
}

// TestNothingIsLostBesideARotation adds versions while keys are rotated and the old ones dropped.
func TestNothingIsLostBesideARotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.key")
	s := openLayer(t, below(t, "sqlite")(), path)
	addVersion(t, s, "api_1", secrets)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.AddVersion(t.Context(), store.Version{APIID: "api_1", Env: secrets}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 10 {
		if _, err := s.Rotate(t.Context(), true, true); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
	if n := wantAllOpen(t, s, "api_1"); n == 0 {
		t.Error("there is no version")
	}
}

// wantAllOpen opens every version of an API and returns how many there are.
func wantAllOpen(t *testing.T, s store.Store, api string) int {
	t.Helper()
	all, err := s.FindVersions(t.Context(), store.VersionFilter{APIID: api})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if _, err := s.Version(t.Context(), api, v.Number); err != nil {
			t.Error(err)
		}
	}
	return len(all)
}

// slowFile is told when it has been read to its end.
type slowFile struct {
	fs.File
	atEnd func()
}

func (f slowFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if errors.Is(err, io.EOF) {
		f.atEnd()
	}
	return n, err
}

// rewrittenThen does something when everything is sealed anew.
type rewrittenThen struct {
	Below
	then func()
}

func (b rewrittenThen) RewriteEnv(ctx context.Context, fn func(string, int, map[string]string) (map[string]string, error)) (int, error) {
	n, err := b.Below.RewriteEnv(ctx, fn)
	b.then()
	return n, err
}

// TestARotationDropsWhatIsOld has somebody read the key file before a rotation writes it, and remember what he read once everything is sealed for
// the new key.
func TestARotationDropsWhatIsOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.key")
	open := below(t, "sqlite")
	s := openLayer(t, open(), path)
	addVersion(t, s, "api_1", secrets)
	first := s.keys.keys[0]
	wasRead, rewritten, remembered, rotated := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s.below = rewrittenThen{s.below, func() {
		close(rewritten)
		<-remembered
	}}
	openAt, slow := s.keys.openAt, sync.OnceFunc(func() {
		close(wasRead)
		select {
		case <-rewritten:
		case <-time.After(200 * time.Millisecond): // the rotation waits for who reads
		}
	})
	s.keys.openAt = func(path string) (fs.File, error) {
		file, err := openAt(path)
		return slowFile{file, slow}, err
	}
	go func() {
		defer close(remembered)
		if err := s.keys.reload(); err != nil {
			t.Error(err)
		}
	}()
	<-wasRead
	go func() {
		_, err := s.Rotate(t.Context(), true, true)
		rotated <- err
	}()
	if err := <-rotated; err != nil {
		t.Fatal(err)
	}
	f, err := ReadKeyFile(path)
	if err != nil || len(f.keys) != 1 || same(f.keys[0], first) {
		t.Fatalf("the key that nothing is sealed for is left: %v", err)
	}
	wantEnv(t, openLayer(t, open(), path), "api_1", secrets)
}

// TestAKeyThatComesDuringARotationStays has somebody put another file there while everything is sealed for the first key of the one before.
func TestAKeyThatComesDuringARotationStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.key")
	open := below(t, "sqlite")
	s := openLayer(t, open(), path)
	addVersion(t, s, "api_1", secrets)
	first := s.keys.keys[0]
	other, err := NewKeyFile(path + "2")
	if err != nil {
		t.Fatal(err)
	}
	s.below = rewrittenThen{s.below, func() {
		if err := os.Rename(path+"2", path); err != nil {
			t.Error(err)
		}
	}}
	if _, err := s.Rotate(t.Context(), true, true); err != nil {
		t.Fatal(err)
	}
	f, err := ReadKeyFile(path)
	if err != nil || len(f.keys) != 2 || !contains(f.keys, other.keys[0]) || contains(f.keys, first) {
		t.Fatalf("%d keys, %v", len(f.keys), err)
	}
	wantEnv(t, openLayer(t, open(), path), "api_1", secrets)
}

func TestAFailedRotationChangesNothing(t *testing.T) {
	open := below(t, "sqlite")
	path := filepath.Join(t.TempDir(), "secrets.key")
	s := openLayer(t, open(), path)
	addVersion(t, s, "api_1", secrets)
	addVersion(t, s, "api_2", secrets)
	st := open()
	_, err := st.RewriteEnv(t.Context(), func(api string, _ int, env map[string]string) (map[string]string, error) {
		if api == "api_2" {
			return map[string]string{variable: "damaged"}, nil
		}
		return env, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rotate(t.Context(), true, true); err == nil || !strings.Contains(err.Error(), "version 1 of api_2") {
		t.Errorf("%v", err)
	}
	wantEnv(t, openLayer(t, open(), path), "api_1", secrets) // the key before is in the file still
}

func TestAKeyFileThatWasReplacedIsReadAgain(t *testing.T) {
	open := below(t, "sqlite")
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets.key")
	s := openLayer(t, open(), path)
	addVersion(t, s, "api_1", secrets)
	// The same file on another node, from before a rotation on this one.
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(dir, "node.key")
	if err := os.WriteFile(node, old, 0o600); err != nil {
		t.Fatal(err)
	}
	other := openLayer(t, open(), node)
	if _, err := s.Rotate(t.Context(), true, false); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Version(t.Context(), "api_1", 1); err == nil || !strings.Contains(err.Error(), node) {
		t.Errorf("%v", err)
	}
	fresh, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(node, fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	wantEnv(t, other, "api_1", secrets)
}

func TestNewKeyFileKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	f, err := NewKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	other, err := NewKeyFile(path + "2")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Merge(other.keys); err != nil {
			t.Fatal(err)
		}
	}
	again, err := ReadKeyFile(path)
	if err != nil || len(again.keys) != 2 || again.keys[0].String() != f.keys[0].String() {
		t.Errorf("%v", err)
	}
}

// TestAStartReadsEnvironmentsInParts has more of them than should be in memory at once: versions are kept for ever, and each may have 64 KiB.
func TestAStartReadsEnvironmentsInParts(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() Below) {
		st := open()
		const versions, size = 650, 64 << 10
		addVersion(t, st, "api_1", nil)
		for n := range versions {
			env := map[string]string{"N": strconv.Itoa(n), "LARGE": strings.Repeat("x", size)}
			if _, err := st.AddVersion(t.Context(), store.Version{APIID: "api_1", Code: "x", Env: env}); err != nil {
				t.Fatal(err)
			}
		}
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before, most, seen := heap(), int64(0), 0
		n, err := st.RewriteEnv(t.Context(), func(_ string, number int, env map[string]string) (map[string]string, error) {
			if seen++; seen%100 == 1 {
				most = max(most, heap()-before)
			}
			if want := strconv.Itoa(number - 2); env["N"] != want {
				return nil, fmt.Errorf("version %d has the environment of %s", number, env["N"])
			}
			return map[string]string{"N": env["N"]}, nil
		})
		if err != nil || n != versions || seen != versions {
			t.Errorf("%d of %d changed, %v", n, seen, err)
		}
		if most > versions*size/2 {
			t.Errorf("%d MiB are in memory at once", most>>20)
		}
	})
}

// TestAKeyFileThatIsALinkStaysOne: whoever put the link there would put it there again, and what it leads to would lack the new key.
func TestAKeyFileThatIsALinkStaysOne(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "keys", "key"), filepath.Join(dir, "secrets.key")
	if err := os.Mkdir(filepath.Dir(target), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeyFile(target); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("keys/key", link); err != nil {
		t.Fatal(err)
	}
	s := openLayer(t, below(t, "sqlite")(), link)
	addVersion(t, s, "api_1", secrets)
	if n, err := s.Rotate(t.Context(), true, true); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	if to, err := os.Readlink(link); err != nil || to != "keys/key" {
		t.Errorf("%q, %v", to, err)
	}
	wantEnv(t, openLayer(t, s.below, target), "api_1", secrets)
}

// TestAKeyFileIsCopiedWhole with what was prepared in it, or not at all.
func TestAKeyFileIsCopiedWhole(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	f, err := NewKeyFile(from)
	if err == nil {
		err = f.prepare()
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := CopyKeyFile(to, text[:len(text)-5]); err == nil || strings.Contains(err.Error(), "SECRET-KEY-1Q") {
		t.Errorf("half of it: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := CopyKeyFile(to, text); err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(to)
	if info, missing := os.Stat(to); err != nil || string(copied) != string(text) || missing != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy differs, or its mode: %v, %v, %v", info, err, missing)
	}
	if err := CopyKeyFile(to, text); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another: %v", err)
	}
}
