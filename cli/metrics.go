package cli

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"apibuilder/deploy"
	"apibuilder/metrics"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// scrapeTimeout bounds what one scrape may wait for the database.
const scrapeTimeout = 2 * time.Second

// namesRetry is how long no names are asked for after the database has failed: a scrape would wait for each of them.
const namesRetry = 10 * time.Second

// openMetrics makes what counts. It comes before the parts that count.
func (s *server) openMetrics(ctx context.Context) error {
	v := version()
	s.metrics = metrics.New(v.Version, v.Commit)
	if s.options.metricsListen == "" {
		return nil
	}
	l, err := s.listen(ctx, "metrics-listen", s.options.metricsListen)
	if err != nil {
		return err
	}
	s.onStop("metrics listener", closer(l))
	s.metricsListener = l
	return nil
}

// serveMetrics lets Prometheus in where there is a door for it.
func (s *server) serveMetrics() {
	if s.metricsListener == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.Handler())
	var running atomic.Int64
	server := &http.Server{
		Handler: whileRunning(mux, &running), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: zap.NewStdLog(s.log.Named("metrics")),
	}
	done := s.run("metrics", func() error { return server.Serve(s.metricsListener) })
	s.endMetrics = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		err := endAnswers(ctx, server, answerGrace, &running)
		<-done
		return err
	})
	s.onStop("metrics", func(context.Context) error { return s.endMetrics() })
}

// leaveMetrics begins to leave scrapers to the successor, which takes them from the same socket: with counters of two servers in turn, each
// change of the server would look like a start from zero.
func (s *server) leaveMetrics() {
	if s.endMetrics != nil {
		go func() { _ = s.endMetrics() }() // the part that stops later waits for it, and tells its error
	}
}

// watchState has what is not counted asked for at every scrape.
func (s *server) watchState() {
	s.metrics.Watch(metrics.State{
		Running:      s.eachSandbox,
		Egress:       s.eachEgress,
		Name:         s.newNames().of,
		Warm:         s.manager.Warm,
		Pending:      s.journal.Pending,
		JournalBytes: s.journal.Bytes,
		Database: func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
			defer cancel()
			return s.pulse.look(ctx) == nil
		},
	})
}

func (s *server) countDeploy(r deploy.Result, err error) {
	var refused *deploy.Error
	switch {
	case err == nil:
		s.metrics.Deployed(r.BuildTime, r.StartTime)
	case errors.As(err, &refused):
		s.metrics.DeployFailed(refused.Reason)
	default:
		s.metrics.DeployFailed("internal")
	}
}

// names remembers the names of APIs, which never change.
type names struct {
	store store.Store

	mu    sync.Mutex
	known map[string]string // by id
	away  time.Time         // the database failed lately: it is left alone until then
}

func (s *server) newNames() *names { return &names{store: s.store, known: map[string]string{}} }

// of returns the name of an API, or nothing where it cannot be had.
func (n *names) of(id string) string {
	n.mu.Lock()
	name, ok := n.known[id]
	away := time.Now().Before(n.away)
	n.mu.Unlock()
	if ok || away {
		return name
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	api, err := n.store.API(ctx, id)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			n.away = time.Now().Add(namesRetry)
		}
		return ""
	}
	if len(n.known) >= metrics.MaxAPIs {
		clear(n.known)
	}
	n.known[id] = api.Name
	return api.Name
}

// eachSandbox tells what every running sandbox uses. One that ends meanwhile uses nothing.
func (s *server) eachSandbox(each func(metrics.Sandbox)) {
	s.manager.Each(func(api string, i *sandbox.Instance, inflight int64) {
		stats, err := i.Stats()
		if err != nil {
			stats = sandbox.Stats{}
		}
		each(metrics.Sandbox{
			API: api, InFlight: inflight, MemoryBytes: stats.MemoryBytes,
			CPUSeconds: stats.CPUTime.Seconds(), ThrottledSeconds: stats.Throttled.Seconds(),
		})
	})
}
