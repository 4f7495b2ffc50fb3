package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"apibuilder/admin"
	"apibuilder/gateway"
	"apibuilder/store"
)

// openDoors lets consumers, operators and authors in.
func (s *server) openDoors(ctx context.Context) error {
	s.watchState()
	s.serveMetrics()
	g := gateway.New(gateway.Config{
		Timeouts:       s.options.requests.times,
		Limits:         s.options.requests.limits,
		StartTimeout:   s.options.startTimeout + time.Minute, // an environment may have to be built again
		TrustedProxies: s.options.edge.trusted,
		ReadForwarded:  s.options.edge.readForwarded,
		ProxyProtocol:  s.options.edge.proxyProtocol,
		AppsDomain:     s.options.edge.appsDomain,
		MappedHosts:    s.options.edge.mappedHosts,
		PublicHost:     s.options.edge.publicHost,
		Quotas:         s.quotas,
		Node:           s.options.nodeName,
		Tracer:         s.tracer("gateway"),
		ContinueTraces: s.options.traces.consumers != "new",
		Ready:          s.checkReady,
		Note:           s.note,
		Tell:           s.tellGateway,
		Log:            s.log.Named("gateway"),
	}, s.store, lender{s.manager}, s.limiter, s.metrics.Journal(s.journal))
	s.serveGateway(g)

	s.onStop("control", s.closeControl)
	return s.openControl(ctx)
}

func (s *server) serveGateway(g *gateway.Gateway) {
	done := s.run("gateway", func() error { return g.Serve(s.listener, nil) })
	edge := s.serveEdge(g)
	s.stops = append(s.stops, stop{"gateway", s.options.drainTimeout, func(ctx context.Context) error {
		if s.hasSuccessor() {
			s.leaveMetrics()
			g.Retire(ctx)
			s.manager.Leave()
		}
		err := g.Drain(ctx)
		for _, done := range append(edge, done) {
			<-done
		}
		if errors.Is(err, context.DeadlineExceeded) {
			s.log.Warn("requests were cut off at the end of the drain timeout")
			return nil
		}
		return err
	}})
}

// run serves until the server is shut down. Done is closed when its accept loop has ended.
func (s *server) run(name string, serve func() error) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve the %s: %w", name, err)
		}
	}()
	return done
}

func (s *server) checkReady(context.Context) error {
	if !s.ready.Load() {
		return errors.New("the server is starting or stopping")
	}
	return nil
}

// note says that the database is away. The server stays ready: what it knows it serves, and the other nodes are no better off.
func (s *server) note(ctx context.Context) string {
	if err := s.pulse.look(ctx); err != nil {
		return "the database does not answer; known APIs are served, deploys and APIs not called before wait for it"
	}
	return ""
}

func (s *server) apiURL(id string) string { return s.url + "/run/" + id }

func (s *server) info() admin.ServerInfo {
	adminListen := ""
	if s.adminListener != nil {
		adminListen = s.adminListener.Addr().String()
	}
	defaults := s.options.limits.Grant(store.Plan{}, store.Limits{}).Limits
	return admin.ServerInfo{
		Version: version().Version, URL: s.url, Listen: s.listener.Addr().String(), AdminListen: adminListen,
		PID: os.Getpid(), StartedAt: s.startedAt, Goroutines: runtime.NumGoroutine(),
		Defaults: admin.Limits(defaults), Ceiling: admin.Limits(s.options.limits.Ceiling),
	}
}
