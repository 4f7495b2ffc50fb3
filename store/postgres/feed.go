package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"apibuilder/store"
)

// What the triggers notify on: changes of our tables, and of rows of the table that is followed (see Rows).
const (
	changesChannel = "apibuilder"
	rowsChannel    = "apibuilder_rows"
)

const (
	defaultSweepEvery = 15 * time.Second
	defaultPollEvery  = 500 * time.Millisecond
	sweepTimeout      = 10 * time.Second
	retryEvery        = time.Second              // while the database is away
	echoTimeout       = 3 * time.Second          // for a notification to ourselves, to learn whether any arrive
	longestPause      = 5 * time.Second          // between attempts to connect
	listenAgain       = 5 * time.Minute          // after a connection on which none arrive
	keptChanges       = time.Hour                // in the table of changes
	purgeEvery        = 10 * time.Minute         //
	latest            = keptChanges - purgeEvery // sweep that finds all of them
)

// feed tells the subscribers what others changed. Two goroutines do: one listens for notifications, and one reads the table
// of changes, rarely while notifications arrive, often while they do not, and at once when they stopped or came back. What is
// told twice does no harm.
//
// While the database is away nothing is told: what is known stays known. What was changed meanwhile is told when it is back.
type feed struct {
	store  *Store
	schema string
	opts   Options
	log    *zap.Logger
	cancel context.CancelFunc
	work   sync.WaitGroup

	listening atomic.Bool
	broken    atomic.Bool   // a connection broke since the last sweep
	look      chan struct{} // wakes the sweep
	rows      chan struct{} // tells that rows changed; see Rows.Changed

	// Owned by the sweep.
	since  string             // every older transaction was finished at the last sweep
	clock  string             // the server's, then
	seen   map[int64]struct{} // changes of younger ones that were told
	looked time.Time          // at the last sweep, by this machine's monotonic clock, which stands still while the machine is suspended
	purged time.Time
}

// newFeed notes where the changes are now and starts the goroutines.
func newFeed(ctx context.Context, s *Store, schema string, o Options) (*feed, error) {
	if o.SweepEvery <= 0 {
		o.SweepEvery = defaultSweepEvery
	}
	if o.PollEvery <= 0 {
		o.PollEvery = defaultPollEvery
	}
	f := &feed{
		store: s, schema: schema, opts: o, log: o.Log, look: make(chan struct{}, 1), rows: make(chan struct{}, 1),
		looked: time.Now(), purged: time.Now(),
	}
	err := s.pool.QueryRow(ctx, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text, now()::text").Scan(&f.since, &f.clock)
	if err != nil {
		return nil, fmt.Errorf("read the table of changes: %w", err)
	}
	life, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.work.Go(func() { f.listen(life) })
	f.work.Go(func() { f.sweep(life) })
	return f, nil
}

// stop ends the goroutines and waits for them.
func (f *feed) stop() {
	f.cancel()
	f.work.Wait()
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// listen keeps a connection on which notifications arrive.
func (f *feed) listen(ctx context.Context) {
	pause := time.Duration(0)
	for ctx.Err() == nil {
		err := f.hear(ctx)
		f.broken.Store(true)
		if f.listening.Swap(false) {
			pause = 0
			nudge(f.look)
			nudge(f.rows)
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errDeaf):
			f.log.Info("notifications do not arrive on this connection, as behind a pooler in transaction mode: changes of "+
				"others are looked for instead", zap.Duration("every", f.opts.PollEvery))
			pause = listenAgain
		default:
			f.store.pool.Reset() // the other connections are as dead
			pause = min(max(2*pause, 100*time.Millisecond), longestPause)
			f.log.Warn("notifications of the database are interrupted", zap.Error(oneLine{err}), zap.Duration("next_attempt_in", pause))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

var errDeaf = errors.New("notifications do not arrive")

// hear listens on a connection of its own until it breaks.
func (f *feed) hear(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, f.store.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = closeConn(ctx, conn) }()
	if err := f.listenOn(ctx, conn); err != nil {
		return err
	}
	f.listening.Store(true)
	f.log.Debug("notifications of the database arrive")
	nudge(f.look) // for what happened before
	nudge(f.rows)
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		f.heard(n.Channel, n.Payload)
	}
}

// listenOn has notifications arrive on a connection; an errDeaf when they do not.
func (f *feed) listenOn(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "LISTEN "+changesChannel+"; LISTEN "+rowsChannel, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	return f.echo(ctx, conn)
}

// closeConn closes a connection in order, even when ctx has ended.
func closeConn(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return conn.Close(ctx)
}

// echo sends a notification by way of the pool and waits for it. A pooler takes LISTEN without a word and forgets it.
func (f *feed) echo(ctx context.Context, conn *pgx.Conn) error {
	word := store.NewID("echo")
	if _, err := f.store.pool.Exec(ctx, "SELECT pg_notify($1, $2)", changesChannel, word); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, echoTimeout)
	defer cancel()
	for {
		n, err := conn.WaitForNotification(wait)
		switch {
		case err != nil && wait.Err() != nil && ctx.Err() == nil:
			return errDeaf
		case err != nil:
			return err
		case n.Payload == word:
			return nil
		}
		f.heard(n.Channel, n.Payload)
	}
}

// heard tells of one notification. Its text may come from anybody who can connect, so it is only ever a hint.
func (f *feed) heard(channel, payload string) {
	if channel == rowsChannel {
		nudge(f.rows)
		return
	}
	parts := strings.SplitN(payload, " ", 3) // schema, node, API
	if len(parts) == 3 && parts[0] == f.schema && !f.store.told(parts[1]) {
		f.store.subscribers.Publish([]change{{APIID: parts[2]}})
	}
}

// sweep reads the table of changes again and again.
func (f *feed) sweep(ctx context.Context) {
	away := false
	for {
		every := f.opts.PollEvery
		if f.listening.Load() {
			every = f.opts.SweepEvery
		} else {
			nudge(f.rows)
		}
		if away {
			every = min(every, retryEvery)
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-f.look:
		case <-timer.C:
		}
		timer.Stop()
		err := f.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			f.store.pool.Reset() // the other connections are as dead
			f.log.Warn("the database does not answer: known APIs are served, usage waits in the journal", zap.Error(oneLine{err}))
		case err == nil && away:
			f.log.Info("the database answers again")
		}
		if away = err != nil; away {
			f.broken.Store(true)
		}
	}
}

// once tells what was committed since the last time.
func (f *feed) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	type row struct {
		seq       *int64
		api, node *string
	}
	var newest, clock string
	var back bool // the database is an older one than before: a backup, or another server
	var late bool // by its clock, some of what was changed may be purged
	began := time.Now()
	// A server that crashed may give out numbers of transactions again, the last ones before it. Its clock goes on.
	broken := f.broken.Swap(false)
	rows, err := list(ctx, f.store.pool, func(r pgx.Rows) (one row, err error) {
		return one, r.Scan(&newest, &clock, &back, &late, &one.seq, &one.api, &one.node)
	}, `SELECT s.xmin::text, now()::text, s.xmin < $1::text::xid8, now() - $3::text::timestamptz > make_interval(secs => $4), c.seq, c.api_id, c.node
		FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) s
		LEFT JOIN apibuilder_changes c ON c.xid >= $1::text::xid8
			OR $2::boolean AND c.time > $3::text::timestamptz - interval '1 minute' ORDER BY c.seq`, f.since, broken, f.clock,
		latest.Seconds())
	if err != nil {
		if broken {
			f.broken.Store(true)
		}
		return err
	}
	var changes []change
	seen := map[int64]struct{}{}
	for _, r := range rows {
		if r.seq == nil {
			continue
		}
		if _, told := f.seen[*r.seq]; !told && !f.store.told(*r.node) {
			changes = append(changes, change{APIID: *r.api})
		}
		seen[*r.seq] = struct{}{}
	}
	if back || late || began.Sub(f.looked) > latest {
		changes = []change{{}}
		for _, a := range f.apis(ctx) {
			changes = append(changes, change{APIID: a})
		}
	}
	f.store.subscribers.Publish(changes)
	f.since, f.clock, f.seen, f.looked = newest, clock, seen, began
	return f.purge(ctx)
}

// apis lists all; where it cannot, the change without an API must do.
func (f *feed) apis(ctx context.Context) []string {
	ids, _ := list(ctx, f.store.pool, func(r pgx.Rows) (id string, err error) { return id, r.Scan(&id) },
		"SELECT id FROM apibuilder_apis")
	return ids
}

// purge removes what no node asks for any more.
func (f *feed) purge(ctx context.Context) error {
	if time.Since(f.purged) < purgeEvery {
		return nil
	}
	f.purged = time.Now()
	_, err := f.store.pool.Exec(ctx, "DELETE FROM apibuilder_changes WHERE time < now() - make_interval(secs => $1)",
		keptChanges.Seconds())
	if err == nil {
		err = f.store.purgePermits(ctx)
	}
	if err == nil {
		err = f.store.purgeQuotas(ctx)
	}
	return err
}
