package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/netutil"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/store"
)

// control is what changes the server's APIs: the management API, and the following of a database's rows. It is closed while
// another server takes over, and opened again when that one fails.
type control struct {
	mu    sync.Mutex
	stops []stop
	grace time.Duration // that answers under way have when it is closed; 0: answerGrace
}

// answerGrace is a part of stopTimeout. After it connections are cut: whoever does not read what he asked for would be waited for in vain.
const answerGrace = 10 * time.Second

func (c *control) onStop(name string, run func(context.Context) error) {
	c.stops = append(c.stops, stop{name, stopTimeout, run})
}

const (
	// mostStrangers is how many connections the management address takes at a time: files, which consumers' connections need too.
	mostStrangers = 512
	// mostHead bounds the header of a management request, the longest cursor among it, before anybody knows whose it is.
	mostHead = 64 << 10
)

// openControl lets operators and authors in. It may be called again after closeControl.
func (s *server) openControl(ctx context.Context) error {
	s.control.mu.Lock()
	defer s.control.mu.Unlock()
	if err := s.openFollowing(ctx); err != nil {
		return err
	}
	management := admin.New(s.store, s.deployer, lifecycle{lender{s.manager}, s.deployer}, s.book, admin.Config{
		URL: s.apiURL, Addresses: s.addresses, Info: s.info, Flush: s.flushUsage, Log: s.log.Named("admin"),
		Pythons: pythons{s.host.builder, s.deployer}, Metrics: s.metrics.Handler(),
		Run:     s.runTask,
		Counts:  func(apiID string) admin.RequestCounts { return admin.RequestCounts(s.metrics.Counts(apiID)) },
		Changed: func(api store.API) { s.manager.SetEgress(api.ID, deploy.EgressOf(api.Options)) },
		MayMap:  s.options.edge.mayTake, Secrets: vault{s.secrets, s.secretsPath(), s.node.ID},
	})
	local, err := s.local.Duplicate()
	if err != nil {
		return err
	}
	s.serveAdmin("management socket", local, management.Local())
	if s.adminListener == nil {
		return nil
	}
	remote, err := duplicate(s.adminListener)
	if err != nil {
		return err
	}
	s.serveAdmin("management address", netutil.LimitListener(remote, mostStrangers), management.Remote())
	return nil
}

// underControl runs something that changes the server's APIs, which ends with control: nothing of it goes on when another server takes over.
// It does not run where control is closed.
func (s *server) underControl(ctx context.Context, name string, run func(context.Context)) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	done := make(chan struct{})
	defer close(done)
	s.control.mu.Lock()
	if len(s.control.stops) == 0 {
		s.control.mu.Unlock()
		return
	}
	s.control.onStop(name, ending(end, done))
	s.control.mu.Unlock()
	run(ctx)
}

// serveAdmin ends deploys and log followers as soon as the server stops: they may last as long as they like otherwise.
func (s *server) serveAdmin(name string, l net.Listener, h http.Handler) {
	life, end := context.WithCancelCause(context.Background())
	var running atomic.Int64
	server := &http.Server{
		Handler:           whileRunning(h, &running),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    mostHead,
		BaseContext:       func(net.Listener) context.Context { return life },
		ErrorLog:          zap.NewStdLog(s.log.Named("admin")),
	}
	done := s.run(name, func() error { return server.Serve(l) })
	s.control.onStop(name, func(ctx context.Context) error {
		end(errors.New("the server is stopping"))
		err := endAnswers(ctx, server, cmp.Or(s.control.grace, answerGrace), &running)
		<-done
		return err
	})
}

// whileRunning counts how many requests run in a handler.
func whileRunning(h http.Handler, running *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		h.ServeHTTP(w, r)
	})
}

// endAnswers returns when no handler of a server runs any more: what they do has ended too. Connections are cut after a grace.
func endAnswers(ctx context.Context, server *http.Server, grace time.Duration, running *atomic.Int64) error {
	polite, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := server.Shutdown(polite)
	if err == nil || ctx.Err() != nil {
		return err
	}
	_ = server.Close() // what is left of its listeners
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for running.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// closeControl ends it; its sockets stay, and who connects to them waits. It may be called again.
func (s *server) closeControl(ctx context.Context) error {
	s.control.mu.Lock()
	defer s.control.mu.Unlock()
	var errs []error
	for i := len(s.control.stops) - 1; i >= 0; i-- {
		part := s.control.stops[i]
		bounded, cancel := context.WithTimeout(ctx, part.time)
		if err := part.run(bounded); err != nil {
			errs = append(errs, fmt.Errorf("stop the %s: %w", part.name, err))
		}
		cancel()
	}
	s.control.stops = nil
	return errors.Join(errs...)
}
