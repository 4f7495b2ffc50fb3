package adopt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/adopt"
	"apibuilder/deploy"
	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// deployer deploys without environments and sandboxes: these are the subject of the end-to-end tests.
type deployer struct {
	store store.Store
	mu    sync.Mutex
	calls []string
	err   func(r deploy.Request) error
	done  chan string    // the code of each deploy that ended
	seen  map[string]int // of those, what was not waited for yet
}

func (d *deployer) Deploy(ctx context.Context, r deploy.Request) (deploy.Result, error) {
	d.mu.Lock()
	d.calls = append(d.calls, r.Name+": "+r.Code)
	fail := d.err
	d.mu.Unlock()
	defer func() { d.done <- r.Code }()
	if err := r.Check(); err != nil {
		return deploy.Result{}, err
	}
	if fail != nil {
		if err := fail(r); err != nil {
			return deploy.Result{}, err
		}
	}
	api, err := d.store.API(ctx, r.Name)
	if err != nil {
		return deploy.Result{}, err
	}
	v, err := d.store.AddVersion(ctx, store.Version{APIID: api.ID, Code: r.Code, Requirements: r.Requirements, Env: r.Env})
	if err == nil && r.Still != nil {
		err = r.Still(ctx)
	}
	if err != nil {
		return deploy.Result{}, err
	}
	return deploy.Result{API: api, Version: v.Number}, d.store.Activate(ctx, api.ID, v.Number)
}

func (d *deployer) Delete(ctx context.Context, id string, checks ...store.Check[store.API]) (store.API, error) {
	defer func() { d.done <- "deleted " + id }()
	return store.API{}, d.store.DeleteAPI(ctx, id, checks...)
}

func (d *deployer) wait(t *testing.T, code string) {
	t.Helper()
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	if d.seen == nil {
		d.seen = map[string]int{}
	}
	for {
		if d.seen[code] > 0 {
			d.seen[code]--
			return
		}
		select {
		case got := <-d.done:
			d.seen[got]++
		case <-timer.C:
			t.Fatalf("%q was never deployed", code)
		}
	}
}

type node struct {
	*deployer
	*postgres.Store
	*adopt.Follower
}

func start(t *testing.T, url string) *node { return startPatient(t, url, 0) }

func startPatient(t *testing.T, url string, grace time.Duration) *node {
	t.Helper()
	st, err := postgres.Open(t.Context(), postgres.Options{URL: url, SweepEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{deployer: &deployer{store: st, done: make(chan string, 1000)}, Store: st}
	n.Follower = adopt.New(adopt.Config{
		Rows: st.Rows(), Store: st, Deployer: n.deployer, Every: 200 * time.Millisecond, Grace: grace,
		End: func(context.Context, string) error { return nil },
	})
	t.Cleanup(func() {
		if err := errors.Join(n.Follower.Stop(context.Background()), st.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) API(t *testing.T, id string) store.API {
	t.Helper()
	a, err := n.Store.API(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestTablesOfAnyLayout takes over what such tables may look like.
func TestTablesOfAnyLayout(t *testing.T) {
	for name, c := range map[string]struct{ create, insert, id, api string }{
		"bigint":     {"id bigserial PRIMARY KEY, code_snapshot text", "INSERT INTO apis (code_snapshot) VALUES ('a')", "1", "1"},
		"uuid":       {"id uuid PRIMARY KEY, name text, code_snapshot text NOT NULL", "INSERT INTO apis VALUES ('c0ffee00-0000-4000-8000-000000000001', 'My API!', 'a')", "c0ffee00-0000-4000-8000-000000000001", "my-api"},
		"text":       {"id text PRIMARY KEY, code_snapshot varchar(99), requirements text", "INSERT INTO apis VALUES ('Weather_v2', 'a', NULL)", "Weather_v2", "weather-v2"},
		"no key":     {"id int, name int, is_active text, code_snapshot text", "INSERT INTO apis VALUES (7, 8, 'no', 'a')", "7", "7"},
		"a trigger":  {"id int, code_snapshot text, updated_at timestamptz", "INSERT INTO apis VALUES (7, 'a')", "7", "7"},
		"partitions": {"id int, code_snapshot text) PARTITION BY RANGE (id", "CREATE TABLE apis_1 PARTITION OF apis DEFAULT; INSERT INTO apis VALUES (7, 'a')", "7", "7"},
	} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t)
			pgtest.Exec(t, url, "CREATE TABLE apis ("+c.create+"); "+c.insert)
			n := start(t, url)
			a := n.API(t, c.id)
			if a.ID != c.id || a.Name != c.api || a.CodeSnapshot != "a" || a.ActiveVersion != 1 {
				t.Fatalf("%+v", a)
			}
			if len(n.calls) > 0 {
				t.Errorf("a row that was there was deployed: %q", n.calls)
			}
			pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'b', requirements = 'httpx'")
			n.wait(t, "b")
			if got := n.API(t, c.id); got.CodeSnapshot != "b" || got.Requirements != "httpx" {
				t.Errorf("%+v", got)
			}
			pgtest.Exec(t, url, "TRUNCATE apis")
			n.wait(t, "deleted "+c.id)
		})
	}
}

func TestTablesThatAreNotFollowed(t *testing.T) {
	for name, create := range map[string]string{
		"no code": "CREATE TABLE apis (id int)", "no id": "CREATE TABLE apis (code_snapshot text)",
		"a view": "CREATE VIEW apis AS SELECT 1 AS id, 'x'::text AS code_snapshot", "bytes": "CREATE TABLE apis (id int, code_snapshot bytea)",
	} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t)
			pgtest.Exec(t, url, create)
			st, err := postgres.Open(t.Context(), postgres.Options{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if st.Rows() != nil {
				t.Error("it is followed")
			}
		})
	}
}

// TestTheOldPlatformGoesOn writes as it always did, by a user that knows nothing of us.
func TestTheOldPlatformGoesOn(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `CREATE TABLE apis (id int PRIMARY KEY, code_snapshot text NOT NULL, calls int DEFAULT 0);
		INSERT INTO apis VALUES (1, 'a'); DO $$ BEGIN CREATE ROLE platform LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; GRANT ALL ON apis TO platform`)
	n := start(t, url)
	old := strings.ReplaceAll(url, "user=postgres", "user=platform")
	pgtest.Exec(t, old, "INSERT INTO apis VALUES (2, 'b')") // without a list of columns
	n.wait(t, "b")
	pgtest.Exec(t, old, "UPDATE apis SET calls = calls + 1")
	pgtest.Exec(t, old, "UPDATE apis SET code_snapshot = 'c' WHERE id = 2; DELETE FROM apis WHERE id = 1")
	n.wait(t, "c")
	n.wait(t, "deleted 1")
	if got := fmt.Sprint(n.calls); got != "[2: b 2: c]" {
		t.Errorf("deploys: %s", got)
	}
}

// TestRowsThatAPolicyHides are not gone: their APIs and keys would go with them.
func TestRowsThatAPolicyHides(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `CREATE TABLE apis (id int, code_snapshot text, requirements text); INSERT INTO apis VALUES (1, 'a'), (2, 'a'), (3, 'a');
		DO $$ BEGIN CREATE ROLE tenant LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; GRANT ALL ON apis TO tenant; GRANT ALL ON SCHEMA public TO tenant`)
	own := strings.ReplaceAll(url, "user=postgres", "user=tenant")
	n := start(t, own)
	pgtest.Exec(t, url, "ALTER TABLE apis ENABLE ROW LEVEL SECURITY") // nobody sees any
	pgtest.Exec(t, url, "CREATE POLICY part ON apis USING (id = 2)")
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'b' WHERE id = 2")
	n.wait(t, "b")
	if _, err := postgres.ReadRows(t.Context(), own); err == nil || !strings.Contains(err.Error(), "row-level security") || !strings.Contains(err.Error(), "BYPASSRLS") {
		t.Errorf("a check of a part of the rows: %v", err)
	}
	n.API(t, "1")
	n.API(t, "3")
	pgtest.Exec(t, url, "ALTER TABLE apis DISABLE ROW LEVEL SECURITY; DELETE FROM apis WHERE id = 1")
	n.wait(t, "deleted 1")
	n.API(t, "3")
}

// TestATableThatIsFilledAnew is empty for a while.
func TestATableThatIsFilledAnew(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text, requirements text); INSERT INTO apis VALUES (1, 'a'), (2, 'a')")
	n := start(t, url)
	before := n.API(t, "1")
	pgtest.Exec(t, url, "DROP TABLE apis")
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text, requirements text)")
	time.Sleep(500 * time.Millisecond) // looks are every 200 ms, and tell nobody
	pgtest.Exec(t, url, "INSERT INTO apis VALUES (1, 'a'), (2, 'b')")
	n.wait(t, "b")
	if now := n.API(t, "1"); !now.CreatedAt.Equal(before.CreatedAt) {
		t.Error("the API was deleted and made again, without its keys")
	}
	if err := n.Follower.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	n = startPatient(t, url, time.Millisecond)
	pgtest.Exec(t, url, "DELETE FROM apis")
	n.wait(t, "deleted 1")
	n.wait(t, "deleted 2")
}

// TestRowsThatAreOdd are no hindrance for the others: one without an id, two with the same, and one whose text is empty or long.
func TestRowsThatAreOdd(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `CREATE TABLE apis (id text, name text, code_snapshot text, requirements text, is_active bool);
		INSERT INTO apis VALUES (NULL, NULL, 'a', NULL, NULL), ('', '', 'a', '', true), ('twice', 'n', 'a', '', true), ('twice', 'n', 'b', '', true),
			('long', repeat('n', 5000), repeat('x', 3000000), '', true), (E'new\nline', E'\x01', 'a', '', true), ('good', 'good', 'a', '', NULL)`)
	rows, err := postgres.ReadRows(t.Context(), url)
	if err != nil || len(rows) != 7 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range check(t, rows...) {
		if len(r.Findings) == 0 || r.ID != "good" && r.Findings[0].Kind != adopt.BadID && r.Findings[0].Kind != adopt.BadRow {
			t.Errorf("%.20q: %+v", r.ID, r.Findings)
		}
	}
	n := start(t, url)
	n.API(t, "good")
	n.API(t, "twice")
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'c' WHERE id = 'good'")
	n.wait(t, "c")
}

// TestRowsAfterARestore has a backup that knows nothing of a row that was taken over since.
func TestRowsAfterARestore(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text, requirements text); INSERT INTO apis VALUES (1, 'a')")
	n := start(t, url)
	type row struct {
		table string
		cells store.Cells
	}
	var backup []row
	err := n.Dump(t.Context(), func(table string, c store.Cells) error {
		backup = append(backup, row{table, c})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "INSERT INTO apis VALUES (2, 'b'); UPDATE apis SET code_snapshot = 'c' WHERE id = 1")
	n.wait(t, "b")
	n.wait(t, "c")
	if err := n.Follower.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = n.Load(t.Context(), true, func() (string, store.Cells, error) {
		if len(backup) == 0 {
			return "", nil, io.EOF
		}
		one := backup[0]
		backup = backup[1:]
		return one.table, one.cells, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n = start(t, url)
	n.wait(t, "c") // it was older in the backup
	if a := n.API(t, "2"); a.CodeSnapshot != "b" {
		t.Errorf("%+v", a)
	}
}

func TestFailures(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id text, code_snapshot text); INSERT INTO apis VALUES ('one', 'a'), ('../two', 'a'), ('three', '')")
	n := start(t, url)
	n.wait(t, "") // refused, and reported on a version
	var broken, ours bool
	n.mu.Lock()
	n.err = func(r deploy.Request) error {
		switch {
		case r.Code == "broken":
			broken = true
			return &deploy.Error{Reason: "import_error", Message: "it raised an error"}
		case r.Code == "b" && !ours:
			ours = true
			return errors.New("the host is out of room")
		}
		return nil
	}
	n.mu.Unlock()
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'broken' WHERE id = 'one'")
	n.wait(t, "broken")
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'b' WHERE id = 'one'")
	n.wait(t, "b") // fails for a reason of ours
	n.wait(t, "b") // and is tried again
	if err := n.Follower.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := n.API(t, "one"); !broken || a.CodeSnapshot != "b" {
		t.Errorf("%+v", a)
	}
	notes, err := n.Rows().Followed(t.Context())
	if err != nil || !strings.Contains(notes["../two"].Problem, "cannot be part of an address") || notes["one"].Problem != "" {
		t.Errorf("%+v, %v", notes, err)
	}
	versions, err := n.FindVersions(t.Context(), store.VersionFilter{APIID: "three"})
	if err != nil || len(versions) != 1 || versions[0].Failure != deploy.InvalidRequest || n.API(t, "three").ActiveVersion != 0 {
		t.Errorf("%+v, %v", versions, err)
	}
}

// TestOneNodeTakesOver runs two on one database.
func TestOneNodeTakesOver(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text); INSERT INTO apis VALUES (1, 'a')")
	n, other := start(t, url), start(t, url)
	for _, code := range []string{"b", "c", "d"} {
		pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = $1", code)
		n.wait(t, code)
	}
	if len(other.calls) > 0 {
		t.Errorf("both deployed: %q", other.calls)
	}
	if err := n.Follower.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'e'")
	other.wait(t, "e")
}

// TestALeaderThatWasCutOff comes back in the middle of a deploy, when another node has led and deployed what is newer.
func TestALeaderThatWasCutOff(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text); INSERT INTO apis VALUES (1, 'a')")
	n := start(t, url)
	middle, back := make(chan struct{}), make(chan struct{})
	n.mu.Lock()
	n.err = func(r deploy.Request) error {
		if r.Code == "b" {
			close(middle)
			<-back
		}
		return nil
	}
	n.mu.Unlock()
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'b'")
	<-middle
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'c'; UPDATE apibuilder_leases SET holder = 'another', until = now() + interval '1 hour' WHERE name = 'rows'")
	v, err := n.AddVersion(t.Context(), store.Version{APIID: "1", Code: "c"})
	if err == nil {
		err = n.Activate(t.Context(), "1", v.Number)
	}
	if err != nil {
		t.Fatal(err)
	}
	close(back)
	n.wait(t, "b")
	if err := n.Follower.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := n.API(t, "1"); a.CodeSnapshot != "c" {
		t.Errorf("%q serves, which is older", a.CodeSnapshot)
	}
}

func TestNamesThatAreTaken(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, name text, code_snapshot text); INSERT INTO apis VALUES (1, 'Same', 'a'), (2, 'same', 'a'), (3, '!', 'a')")
	n := start(t, url)
	names := map[string]bool{}
	for _, id := range []string{"1", "2", "3"} {
		a := n.API(t, id)
		if a.ID != id || store.ValidName(a.Name) != nil || names[a.Name] {
			t.Errorf("%+v", a)
		}
		names[a.Name] = true
	}
}

// TestARowThatIsCalledAsAnother has the id of another row for its name, which whoever calls that API knows.
func TestARowThatIsCalledAsAnother(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id text, name text, code_snapshot text); INSERT INTO apis VALUES ('victim', 'Theirs', 'a'), ('early', 'late', 'a')")
	n := start(t, url)
	pgtest.Exec(t, url, "INSERT INTO apis VALUES ('other', 'victim', 'b')")
	n.wait(t, "b")
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'c' WHERE id = 'other'")
	n.wait(t, "c")
	if err := n.Follower.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := n.API(t, "victim"); a.CodeSnapshot != "a" || a.ActiveVersion != 1 {
		t.Errorf("it serves another row's code: %+v", a)
	}
	if a := n.API(t, "other"); a.CodeSnapshot != "c" || a.Name == "victim" {
		t.Errorf("%+v", a)
	}
	rows, err := postgres.ReadRows(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.ID == "victim" && r.Code != "a" {
			t.Errorf("its row was written over: %+v", r)
		}
	}
}

// TestARowWhoseIDIsAnotherAPIsName waits until that is gone, and holds up nobody else, not even a start.
func TestARowWhoseIDIsAnotherAPIsName(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id text, code_snapshot text); INSERT INTO apis VALUES ('weather', 'a'), ('fine', 'a'), ('api_234567abcdefghij', 'a')")
	st, err := postgres.Open(t.Context(), postgres.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ours := store.API{ID: store.NewID("api"), Name: "weather", UserID: store.OperatorID}
	if _, err := st.CreateAPI(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	n := start(t, url)
	n.API(t, "fine")
	if a := n.API(t, "weather"); a.ID != ours.ID {
		t.Errorf("a row took the address of %+v", a)
	}
	if _, err := n.Store.API(t.Context(), "api_234567abcdefghij"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a row has an id of ours: %v", err)
	}
	if err := st.DeleteAPI(t.Context(), ours.ID); err != nil {
		t.Fatal(err)
	}
	n.wait(t, "a")
	if a := n.API(t, "weather"); a.ID != "weather" {
		t.Errorf("%+v", a)
	}
}

// TestARowWithTheIDOfAnAPIOfOurs neither gets that one's code nor takes it with it when it goes, also where a version before has noted it.
func TestARowWithTheIDOfAnAPIOfOurs(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id text, code_snapshot text); INSERT INTO apis VALUES ('other', 'a')")
	n := start(t, url)
	for _, noted := range []bool{false, true} {
		ours, err := n.Store.CreateAPI(t.Context(), store.API{ID: store.NewID("api"), Name: fmt.Sprintf("ours-%t", noted), UserID: store.OperatorID})
		if err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, url, "INSERT INTO apis VALUES ('"+ours.ID+"', 'theirs')")
		if noted {
			rows, err := n.Store.Rows().Read(t.Context(), []string{ours.ID})
			if err == nil {
				err = n.Store.Rows().Take(t.Context(), ours.ID, store.Followed{Stamp: rows[0].Stamp})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // looks are every 200 ms, and tell nobody
		v, err := n.Store.AddVersion(t.Context(), store.Version{APIID: ours.ID, Code: "secret", State: store.VersionReady})
		if err == nil {
			err = n.Store.Activate(t.Context(), ours.ID, v.Number)
		}
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := n.Store.Rows().Read(t.Context(), []string{ours.ID}); err != nil || len(rows) != 1 || rows[0].Code != "theirs" {
			t.Errorf("noted %t: their row has %+v, %v", noted, rows, err)
		}
		pgtest.Exec(t, url, "DELETE FROM apis WHERE id = '"+ours.ID+"'")
		time.Sleep(time.Second)
		if _, err := n.Store.API(t.Context(), ours.ID); err != nil {
			t.Errorf("noted %t: it went with their row: %v", noted, err)
		}
	}
}

// TestARowThatIsBackAgain was deleted and inserted while its turn had to wait: its API keeps its keys.
func TestARowThatIsBackAgain(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text); INSERT INTO apis SELECT i, 'a' FROM generate_series(1, 5) i")
	n := start(t, url)
	before := n.API(t, "1")
	entered, leave := make(chan struct{}), make(chan struct{})
	n.mu.Lock()
	n.err = func(r deploy.Request) error {
		if r.Code == "slow" {
			entered <- struct{}{}
			<-leave
		}
		return nil
	}
	n.mu.Unlock()
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'slow' WHERE id > 1")
	for range 4 {
		<-entered
	}
	pgtest.Exec(t, url, "DELETE FROM apis WHERE id = 1")
	time.Sleep(500 * time.Millisecond) // looks are every 200 ms, and tell nobody
	pgtest.Exec(t, url, "INSERT INTO apis VALUES (1, 'a')")
	close(leave)
	for range 4 {
		n.wait(t, "slow")
	}
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'b' WHERE id = 1")
	n.wait(t, "b")
	if err := n.Follower.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := n.API(t, "1"); !now.CreatedAt.Equal(before.CreatedAt) {
		t.Error("the API was deleted and made again, without its keys")
	}
}

// TestATableThatIsFilledRowByRow lacks most rows for a while, and then fewer and fewer.
func TestATableThatIsFilledRowByRow(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text); INSERT INTO apis SELECT i, 'a' FROM generate_series(1, 5) i")
	n := startPatient(t, url, 6*time.Second)
	before := n.API(t, "5")
	pgtest.Exec(t, url, "TRUNCATE apis")
	for i := range 5 {
		time.Sleep(300 * time.Millisecond)
		pgtest.Exec(t, url, "INSERT INTO apis VALUES ($1, 'a')", i+1)
	}
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'b' WHERE id = 5")
	n.wait(t, "b")
	if now := n.API(t, "5"); !now.CreatedAt.Equal(before.CreatedAt) {
		t.Error("the API was deleted and made again, without its keys")
	}
	pgtest.Exec(t, url, "DELETE FROM apis WHERE id > 1")
	began := time.Now()
	for _, id := range []string{"2", "3", "4", "5"} {
		n.wait(t, "deleted "+id)
	}
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("most rows count as gone after %v", waited)
	}
	n.API(t, "1")
}

// TestARowThatWasOutOfService comes back with what was set by way of us.
func TestARowThatWasOutOfService(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text, is_active bool); INSERT INTO apis VALUES (1, 'a', true)")
	n := start(t, url)
	v, err := n.AddVersion(t.Context(), store.Version{
		APIID: "1", Code: "a", Python: "3.11", State: store.VersionReady, Env: map[string]string{"TOKEN": "x"}, Limits: store.Limits{Pids: 20},
	})
	if err == nil {
		err = n.Activate(t.Context(), "1", v.Number)
	}
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "UPDATE apis SET is_active = false")
	for limit := time.Now().Add(30 * time.Second); n.API(t, "1").ActiveVersion != 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it is not taken out of service")
		}
	}
	var asked deploy.Request
	n.mu.Lock()
	n.err = func(r deploy.Request) error {
		asked = r
		return nil
	}
	n.mu.Unlock()
	pgtest.Exec(t, url, "UPDATE apis SET is_active = true")
	n.wait(t, "a")
	if asked.Env["TOKEN"] != "x" || asked.Python != "3.11" || asked.Limits.Pids != 20 {
		t.Errorf("it comes back with %+v", asked)
	}
}

// TestWhatTheAuthorCannotMend is tried again, less and less often: each try leaves a version.
func TestWhatTheAuthorCannotMend(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text, calls int DEFAULT 0); INSERT INTO apis VALUES (1, 'a'), (2, 'a')")
	n := start(t, url)
	const fails = 5
	tries := map[string][]time.Time{}
	n.mu.Lock()
	n.err = func(r deploy.Request) error {
		n.mu.Lock()
		defer n.mu.Unlock()
		tries[r.Code] = append(tries[r.Code], time.Now())
		switch {
		case len(tries[r.Code]) > fails:
			return nil
		case r.Code == "index":
			return &deploy.Error{Reason: "index_unreachable", Message: "the package index does not answer"}
		}
		return errors.New("the host is out of room")
	}
	n.mu.Unlock()
	pgtest.Exec(t, url, "UPDATE apis SET code_snapshot = 'index' WHERE id = 1; UPDATE apis SET code_snapshot = 'room' WHERE id = 2")
	for range fails {
		n.wait(t, "index")
		n.wait(t, "room")
		pgtest.Exec(t, url, "UPDATE apis SET calls = calls + 1") // which is no change of the content
	}
	n.wait(t, "index")
	n.wait(t, "room")
	if err := n.Follower.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, code := range map[string]string{"1": "index", "2": "room"} {
		if a := n.API(t, id); a.CodeSnapshot != code {
			t.Errorf("%s serves %q", id, a.CodeSnapshot)
		}
		at := tries[code]
		if len(at) != fails+1 || at[fails].Sub(at[fails-1]) < 2*time.Second {
			t.Errorf("%s: tried at %v", code, at)
		}
	}
}

// TestRowsThatAreHuge are read as far as tells that they are too long: others write there, and a start reads many of them.
func TestRowsThatAreHuge(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `CREATE TABLE apis (id int, name text, code_snapshot text, requirements text);
		INSERT INTO apis VALUES (1, 'a', 'a', 'six'), (2, repeat('n', 50000000), repeat('x', 50000000), ''), (3, 'b', 'a', repeat('x', 50000000)),
			(4, 'c', repeat('x', 1048576), ''), (5, 'd', repeat('x', 1048577), '')`)
	n := start(t, url)
	rows, err := n.Rows().Read(t.Context(), []string{"1", "2", "3", "4", "5"})
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		if size := len(r.Name) + len(r.Code) + len(r.Requirements); size > 2<<20 {
			t.Errorf("%d bytes of row %s are read", size, r.ID)
		}
		check := deploy.Request{Name: "a", Code: r.Code, Requirements: r.Requirements}.Check()
		if fine := r.ID == "1" || r.ID == "4"; fine != (check == nil) {
			t.Errorf("row %s: %v", r.ID, check)
		}
	}
}
