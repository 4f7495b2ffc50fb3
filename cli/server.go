package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/gateway"
	"apibuilder/logs"
	"apibuilder/metrics"
	"apibuilder/sandbox"
	"apibuilder/store"
	"apibuilder/store/sealed"
	"apibuilder/traces"
	"apibuilder/usage"
)

// stopTimeout is what each part is given to stop, besides the time for requests under way.
const stopTimeout = 15 * time.Second

// server is one running `apibuilder serve`.
type server struct {
	options serveOptions
	log     *zap.Logger

	data            *dataDir
	database        keeper // below store
	secrets         *sealed.Store
	store           store.Store
	node            store.Node // this server
	book            *logs.Book
	host            *host
	manager         *sandbox.Manager
	deployer        *deploy.Deployer
	journal         *usage.Journal
	egressSums      *usage.Egress
	limiter         gateway.Limiter
	quotas          gateway.Quotas
	metrics         *metrics.Metrics
	traces          *traces.Traces // nil: none
	metricsListener net.Listener   // nil: none
	listener        net.Listener
	adminListener   net.Listener // nil: none
	edge            edge
	url             string
	startedAt       time.Time
	ready           atomic.Bool

	seat        seat
	predecessor predecessor
	succeeded   chan struct{} // closed when another server has taken over
	alone       chan struct{} // closed when what the other seat's server left is cared for
	activated   map[string]net.Listener
	bound       []bound
	local       *admin.RootListener // the management socket
	control     control

	stops  []stop
	failed chan error // receives when a listener breaks
}

// stop ends one part; the parts end in reverse order, each under a deadline of its own.
type stop struct {
	name string
	time time.Duration
	run  func(context.Context) error
}

func (s *server) onStop(name string, run func(context.Context) error) {
	s.stops = append(s.stops, stop{name, stopTimeout, run})
}

// background runs something until the server stops, when its context ends. It belongs to a part that is stopped in its turn.
func (s *server) background(name string, run func(context.Context)) {
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	s.onStop(name, func(ctx context.Context) error {
		end()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// start brings up the parts in the order in which they need each other. What an error leaves is ended by stop.
func (s *server) start(ctx context.Context) error {
	s.startedAt, s.failed, s.succeeded = time.Now().UTC(), make(chan error, 8), make(chan struct{})
	for _, step := range []func(context.Context) error{
		s.openData, s.openActivated, s.openListeners, s.openMetrics, s.openTraces, s.closeSpare, s.openStore, s.followBook, s.openNode, s.openHost, s.openSandboxes,
		s.openFollower, s.openUsage, s.freezePredecessor, s.recover, s.openCleaning, s.openLeft, s.openLimits, s.openDoors,
		s.leavePredecessor, s.openSuccessor,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.ready.Store(true)
	return nil
}

func (s *server) openData(ctx context.Context) (err error) {
	if s.data, err = openDataDir(s.options.dataDir); err != nil {
		return err
	}
	if err := s.openPredecessor(ctx); err != nil {
		return err
	}
	if err := s.lockData(); err != nil {
		return err
	}
	s.onStop("data directory", func(context.Context) error { return s.data.close() })
	s.openBook()
	return nil
}

// openListeners comes early, so that an address that is taken is told before anything is fetched.
func (s *server) openListeners(ctx context.Context) (err error) {
	if s.listener, err = s.listen(ctx, "listen", s.options.listen); err != nil {
		return err
	}
	s.onStop("listener", closer(s.listener))
	if err := s.openEdge(ctx); err != nil {
		return err
	}
	if s.options.adminListen != "" {
		if s.adminListener, err = s.listen(ctx, "admin-listen", s.options.adminListen); err != nil {
			return err
		}
		s.onStop("management listener", closer(s.adminListener))
		if addr, ok := s.adminListener.Addr().(*net.TCPAddr); ok && !addr.IP.IsLoopback() {
			s.log.Warn("tokens travel unencrypted to the management address: put a proxy with TLS before it",
				zap.String("address", addr.String()))
		}
	}
	s.url = baseURL(s.options.publicURL, s.listener.Addr())
	return s.openLocal(ctx)
}

func listenTCP(ctx context.Context, flag, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w: choose another address with %s", address, err, flag)
	}
	return l, nil
}

func closer(l net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // its server has closed it, unless the start failed
			return err
		}
		return nil
	}
}

func (s *server) openHost(ctx context.Context) (err error) {
	s.host, err = openHost(ctx, s.data, s.data.path, s.seat, s.options.host, func(line string) { s.log.Info(printable(line)) })
	if err != nil {
		return err
	}
	s.onStop("builds", s.host.stop)
	return nil
}

func (s *server) openSandboxes(ctx context.Context) error {
	memory, err := hostMemory(s.options.memoryReserve)
	if err != nil {
		return err
	}
	s.manager = sandbox.NewManager(sandbox.ManagerConfig{
		Egress: s.gate(),
		Driver: s.host.driver(s.data.path),
		Source: func(ctx context.Context, api string, version int) (sandbox.Spec, error) {
			return s.deployer.Source(ctx, api, version)
		},
		Plan:          func(ctx context.Context, api string) (sandbox.Plan, error) { return s.deployer.Plan(ctx, api) },
		StartTimeout:  s.options.startTimeout,
		IdleTimeout:   s.options.idleTimeout,
		WarmMemory:    s.options.warmMemory,
		DrainTimeout:  s.options.drainTimeout,
		Memory:        memory,
		MemoryReserve: s.options.memoryReserve,
		MaxSandboxes:  s.options.maxSandboxes,
		Transport:     func(dial sandbox.Dialer) sandbox.Transport { return gateway.NewTransport(dial) },
		OnOutput:      s.keepOutput,
		OnExit:        s.keepExit,
		OnEvent:       s.tellSandbox,
		Log:           s.log.Named("sandbox"),
	})
	s.deployer = deploy.New(s.store, s.host.builder, sandboxes{s.manager, s.forget}, s.options.limits)
	s.deployer.SetShelf(s.data.shelf())
	s.deployer.Observe(s.countDeploy)
	s.deployer.Tell(s.tellDeploy)
	s.deployer.KeepProgress(s.keepProgress)
	s.deployer.SetNode(s.node.ID)
	s.deployer.Trace(s.tracer("deploy"))
	s.openEgressSums() // it stops after the sandboxes
	if err := s.manager.Start(ctx); err != nil {
		return err
	}
	s.stops = append(s.stops, stop{"sandboxes", s.options.drainTimeout + stopTimeout, s.manager.Stop})
	s.followPlans()
	s.followEgress()
	return nil
}

// recover marks what a dead server left half done. No other server deploys by now.
func (s *server) recover(ctx context.Context) error {
	found, err := s.deployer.Recover(ctx)
	if found > 0 {
		s.log.Warn("deploys were under way when the server stopped; they failed", zap.Int("versions", found))
	}
	return err
}

func (s *server) openUsage(ctx context.Context) (err error) {
	if s.journal, err = usage.Open(s.data.join(s.seat.journal()), s.store, usage.Options{Log: s.log.Named("usage")}); err != nil {
		return err
	}
	if err := s.journal.Start(ctx); err != nil {
		return err
	}
	s.onStop("usage journal", s.journal.Stop)
	pruner := usage.NewPruner(s.store, s.options.usageRetention, s.log.Named("usage"))
	pruner.Start()
	s.onStop("removal of old usage", pruner.Stop)
	return nil
}

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
			g.Retire(ctx)
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

// wait returns when ctx ends, or with the error of a listener that broke.
func (s *server) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
		return nil
	case <-s.succeeded:
		return nil
	case err := <-s.failed:
		return err
	}
}

// hasSuccessor reports whether another server has taken over.
func (s *server) hasSuccessor() bool {
	select {
	case <-s.succeeded:
		return true
	default:
		return false
	}
}

// stop ends what start began. It returns what went wrong, having tried everything.
func (s *server) stop() error {
	s.ready.Store(false)
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		part := s.stops[i]
		ctx, cancel := context.WithTimeout(context.Background(), part.time)
		if err := part.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop the %s: %w", part.name, err))
		}
		cancel()
	}
	s.stops = nil
	_ = s.log.Sync() // a terminal cannot be synced
	return errors.Join(errs...)
}

func (s *server) checkReady(context.Context) error {
	if !s.ready.Load() {
		return errors.New("the server is starting or stopping")
	}
	return nil
}

// note says that the database is away. The server stays ready: what it knows it serves, and the other nodes are no better off.
func (s *server) note(ctx context.Context) string {
	if err := s.store.Ping(ctx); err != nil {
		return "the database does not answer; known APIs are served, deploys and APIs not called before wait for it"
	}
	return ""
}

// runTask runs one-off code beside a version of an API.
func (s *server) runTask(ctx context.Context, apiID string, version int, t sandbox.Task) (*sandbox.Exit, error) {
	spec, err := s.deployer.Source(ctx, apiID, version)
	if err != nil {
		return nil, err
	}
	return s.manager.Run(ctx, spec, t)
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

// forget drops what this server keeps of an API that was deleted: what its programs printed, and its counts.
func (s *server) forget(apiID string) error {
	s.metrics.Forget(apiID)
	return s.book.Remove(apiID)
}

// keepExit records how a sandbox ended, unless we ended it.
func (s *server) keepExit(e sandbox.Exit) {
	s.metrics.Exit(e)
	if e.Reason == sandbox.Draining {
		return
	}
	s.tellExit(e)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := s.store.AddExit(ctx, store.Exit{
		APIID: e.API, Version: e.Version, Reason: string(e.Reason), Detail: e.Detail, Output: e.Output, Time: e.At,
	})
	if err != nil {
		s.log.Warn("record how a sandbox ended", zap.String("api", e.API), zap.Error(err))
	}
}
