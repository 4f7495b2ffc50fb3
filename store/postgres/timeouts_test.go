package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/schema"
)

// impatient is what a URL says of a user whose statements the server ends after a while, as hosted databases do.
const impatient = "&statement_timeout=1h"

// patient is SQL that fails where a statement has a limit of time.
const patient = `CREATE FUNCTION patient() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
		IF current_setting('statement_timeout') <> '0' THEN RAISE 'statements end after %', current_setting('statement_timeout'); END IF;
		RETURN true;
	END $$;`

// TestALongMigrationIsNotEnded: one that sums up millions of records takes longer than what a user's statements may.
func TestALongMigrationIsNotEnded(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, patient)
	long := []schema.Migration{{Version: 1, Name: "long", SQL: "SELECT patient(); CREATE TABLE t (n INTEGER)"}}
	if err := migrate(t.Context(), rawPool(t, address+impatient), long); err != nil {
		t.Fatal(err)
	}
}

// TestALongBackupIsNotEnded: a table of a backup is read by one statement, which lasts as long as the file is written.
func TestALongBackupIsNotEnded(t *testing.T) {
	address := pgtest.Database(t)
	s := openAt(t, address+impatient)
	pgtest.Exec(t, address, patient+`ALTER TABLE apibuilder_audit RENAME TO hidden;
		CREATE VIEW apibuilder_audit AS SELECT * FROM hidden WHERE patient()`)
	pgtest.Exec(t, address, `INSERT INTO hidden (id, time, token_id, role, user_id, method, path, api_id, status, error) VALUES ('', 0, '', '', '', '', '', '', 0, '')`)
	rows := 0
	err := s.Dump(t.Context(), func(table string, _ store.Cells) error {
		if table == "audit" {
			rows++
		}
		return nil
	})
	if err != nil || rows != 1 {
		t.Fatalf("%d rows, %v", rows, err)
	}
}

// TestAMigrationGivesWayInADeadlock has an older node take locks in the other order.
func TestAMigrationGivesWayInADeadlock(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE first (n INTEGER); CREATE TABLE second (n INTEGER)")
	pool := rawPool(t, address)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "SET LOCAL deadlock_timeout = '1h'"); err != nil { // the migration is to be the one that is ended
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT * FROM second"); err != nil {
		t.Fatal(err)
	}
	all := []schema.Migration{{Version: 1, Name: "both", SQL: "ALTER TABLE first ADD COLUMN m INTEGER; ALTER TABLE second ADD COLUMN m INTEGER"}}
	done := make(chan error, 1)
	other := rawPool(t, address)
	go func() { done <- migrate(t.Context(), other, all) }()
	awaitLocked(t, pool, "second")
	if _, err := tx.Exec(t.Context(), "SELECT * FROM first"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// awaitLocked returns when somebody waits for a table.
func awaitLocked(t *testing.T, pool *pgxpool.Pool, table string) {
	t.Helper()
	for waits := false; !waits; time.Sleep(5 * time.Millisecond) {
		err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = $1::regclass AND NOT granted)", table).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestADeadlockIsTriedAgain has two transactions take two locks crosswise.
func TestADeadlockIsTriedAgain(t *testing.T) {
	s := openAt(t, pgtest.Database(t))
	var first, second sync.WaitGroup // until both have one
	first.Add(1)
	second.Add(1)
	var runs atomic.Int32
	take := func(mine, theirs int, mineIsTaken, theirsIsTaken *sync.WaitGroup) error {
		tell := sync.OnceFunc(mineIsTaken.Done)
		return s.write(t.Context(), func(u *unit) error {
			runs.Add(1)
			_, err := u.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", mine)
			tell()
			theirsIsTaken.Wait()
			if err == nil {
				_, err = u.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", theirs)
			}
			return err
		})
	}
	var both sync.WaitGroup
	both.Go(func() {
		if err := take(1, 2, &first, &second); err != nil {
			t.Error(err)
		}
	})
	both.Go(func() {
		if err := take(2, 1, &second, &first); err != nil {
			t.Error(err)
		}
	})
	both.Wait()
	if n := runs.Load(); n != 3 {
		t.Errorf("there were %d runs of two transactions of which one deadlocked", n)
	}
}

// TestActivatingLocksOurRowFirst: whoever reactivates has it already when he comes to the row that is followed.
func TestActivatingLocksOurRowFirst(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE apis (id text PRIMARY KEY, code_snapshot text, requirements text)")
	s := openAt(t, address)
	a, err := s.CreateAPI(t.Context(), store.API{ID: "7", Name: "resize", UserID: store.OperatorID})
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"one", "two"} {
		if _, err := s.AddVersion(t.Context(), store.Version{APIID: a.ID, Code: code, State: store.VersionReady}); err != nil {
			t.Fatal(err)
		}
	}
	pgtest.Exec(t, address, "INSERT INTO apis VALUES ($1, 'theirs', '')", a.ID)
	rows, err := s.Rows().Read(t.Context(), []string{a.ID})
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if err := s.Rows().Take(t.Context(), a.ID, store.Followed{Stamp: rows[0].Stamp}); err != nil {
		t.Fatal(err)
	}
	pool := rawPool(t, address)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "SELECT FROM apibuilder_apis FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Activate(t.Context(), a.ID, 1) }()
	for waits := false; !waits; time.Sleep(5 * time.Millisecond) {
		err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)").Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM apis FOR UPDATE NOWAIT"); err != nil {
		t.Errorf("who waits for our row holds theirs: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if code := ask[string](t, address, "SELECT code_snapshot FROM apis"); code != "one" {
		t.Errorf("their row has %q", code)
	}
}

// TestALeaseIsNotTakenBehindAYield ends the question who leads while the database has not answered it.
func TestALeaseIsNotTakenBehindAYield(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE apis (id text, code_snapshot text)")
	first, second := openAt(t, address).Rows(), openAt(t, address).Rows()
	pool := rawPool(t, address)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "LOCK TABLE apibuilder_leases"); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		lead bool
		err  error
	}
	answers := make(chan answer, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		lead, err := first.Lead(ctx)
		answers <- answer{lead, err}
	}()
	awaitLocked(t, pool, "apibuilder_leases")
	cancel()
	select {
	case a := <-answers:
		t.Fatalf("the question was given up, and the database has it still: %v, %v", a.lead, a.err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; !a.lead || a.err != nil {
		t.Errorf("%v, %v", a.lead, a.err)
	}
	if lead, err := first.Lead(ctx); lead || !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that had ended: %v, %v", lead, err)
	}
	if err := first.Yield(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lead, err := second.Lead(t.Context()); !lead || err != nil {
		t.Errorf("the next one: %v, %v", lead, err)
	}
}

// link is a connection to the database by way of a proxy.
type link struct {
	client, server net.Conn
	answers        sync.Mutex // held while an answer is passed on
}

// proxied starts a proxy before a database and returns the database's URL by way of it, and where to say what is to happen instead of passing on
// the next COMMIT.
func proxied(t *testing.T, address string) (url string, atCommit *atomic.Pointer[func(l *link, message []byte)]) {
	t.Helper()
	to, err := neturl.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	atCommit = &atomic.Pointer[func(*link, []byte)]{}
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	t.Cleanup(func() { listener.Close() })
	socket := filepath.Join(to.Query().Get("host"), ".s.PGSQL."+to.Query().Get("port"))
	work.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				t.Error(err)
				client.Close()
				return
			}
			l := &link{client: client, server: server}
			work.Go(func() { l.ask(atCommit) })
			work.Go(l.answer)
		}
	})
	return fmt.Sprintf("postgres://%s@%s%s?sslmode=disable", pgtest.Superuser, listener.Addr(), to.Path), atCommit
}

// ask passes on what the client sends. Each read is a message, because the client waits for its answer.
func (l *link) ask(atCommit *atomic.Pointer[func(*link, []byte)]) {
	defer l.server.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := l.client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte("commit\x00")) {
			if instead := atCommit.Swap(nil); instead != nil {
				(*instead)(l, buf[:n])
				continue
			}
		}
		if _, err := l.server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *link) answer() {
	defer l.client.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := l.server.Read(buf)
		if err != nil {
			return
		}
		l.answers.Lock()
		_, err = l.client.Write(buf[:n])
		l.answers.Unlock()
		if err != nil {
			return
		}
	}
}

func makeKey(t *testing.T, s *Store, apiID string) store.Key {
	t.Helper()
	_, prefix, hash := store.NewSecret("ab_")
	k, err := s.CreateKey(t.Context(), store.Key{ID: store.NewID("key"), APIID: apiID, Prefix: prefix, Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestACommitIsToldWhoeverHasGone has the client of a request leave while the database's answer to COMMIT is under way.
func TestACommitIsToldWhoeverHasGone(t *testing.T) {
	url, atCommit := proxied(t, pgtest.Database(t))
	s := openNode(t, url, time.Hour, time.Hour)
	a := makeAPI(t, s, "resize")
	k := makeKey(t, s, a.ID)
	changes := subscribe(t, s)
	ctx, leave := context.WithCancel(t.Context())
	hold := func(l *link, message []byte) {
		l.answers.Lock()
		if _, err := l.server.Write(message); err != nil {
			t.Error(err)
		}
		leave()
		time.AfterFunc(200*time.Millisecond, l.answers.Unlock)
	}
	atCommit.Store(&hold)
	if _, err := s.RevokeKey(ctx, k.ID); err != nil {
		t.Errorf("what was committed ended with %v", err)
	}
	select {
	case c := <-changes:
		if c.APIID != a.ID {
			t.Errorf("told of %+v", c)
		}
	default:
		t.Error("a key was revoked, and nobody was told")
	}
	if k, err := s.KeyByHash(t.Context(), k.Hash); err != nil || k.RevokedAt.IsZero() {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := s.RotateKey(ctx, k.ID, "", k.Hash, time.Time{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that had ended: %v", err)
	}
}

// TestACommitThatComesLateIsTold loses a connection with a COMMIT on its way, which arrives after the method has returned.
func TestACommitThatComesLateIsTold(t *testing.T) {
	url, atCommit := proxied(t, pgtest.Database(t))
	s := openNode(t, url, time.Hour, time.Hour)
	heard(t, s)
	a := makeAPI(t, s, "resize")
	k := makeKey(t, s, a.ID)
	changes := subscribe(t, s)
	arrive := make(chan struct{})
	deliver := sync.OnceFunc(func() { close(arrive) })
	defer deliver()
	late := func(l *link, message []byte) {
		l.client.Close()
		<-arrive
		if _, err := l.server.Write(message); err != nil {
			t.Error(err)
		}
	}
	atCommit.Store(&late)
	if _, err := s.RevokeKey(t.Context(), k.ID); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error is %v", err)
	}
	told(t, changes, store.Change{APIID: a.ID}) // it may have been committed
	if k, err := s.KeyByHash(t.Context(), k.Hash); err != nil || !k.RevokedAt.IsZero() {
		t.Errorf("%+v, %v", k, err)
	}
	deliver()
	told(t, changes, store.Change{APIID: a.ID})
	if k, err := s.KeyByHash(t.Context(), k.Hash); err != nil || k.RevokedAt.IsZero() {
		t.Errorf("%+v, %v", k, err)
	}
}
