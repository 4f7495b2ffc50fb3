package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/clock"
	"apibuilder/deploy"
	"apibuilder/gateway"
	"apibuilder/logs"
	"apibuilder/metrics"
	"apibuilder/node"
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
	clock           *clock.Clock // for removing what is old
	database        keeper       // below store
	secrets         *sealed.Store
	store           store.Store
	pulse           pulse      // of the store
	node            store.Node // this server
	beat            *node.Heartbeat
	book            *logs.Book
	lost            lostLines
	host            *host
	manager         *sandbox.Manager
	exits           exits
	deployer        *deploy.Deployer
	journal         *usage.Journal
	egressSums      *usage.Egress
	limiter         gateway.Limiter
	quotas          gateway.Quotas
	metrics         *metrics.Metrics
	traces          *traces.Traces // nil: none
	metricsListener net.Listener   // nil: none
	endMetrics      func() error   // nil: there is no listener for them
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
	left        error         // why usage records of that are not delivered; set before alone is closed
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
	s.onStop(name, ending(end, done))
}

// ending ends something, and waits until it is done.
func ending(end func(), done <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		end()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// start brings up the parts in the order in which they need each other. What an error leaves is ended by stop.
func (s *server) start(ctx context.Context) error {
	s.startedAt, s.failed, s.succeeded = time.Now().UTC(), make(chan error, 8), make(chan struct{})
	for _, step := range []func(context.Context) error{
		s.openData, s.openActivated, s.openListeners, s.openMetrics, s.openTraces, s.closeSpare, s.openStore, s.compareClocks, s.followBook, s.openNode, s.openHost, s.openSandboxes,
		s.openFollower, s.openUsage, s.freezePredecessor, s.recover, s.openCleaning, s.openLeft, s.openRetention, s.openLimits, s.openDoors,
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
	if err := s.openClock(); err != nil {
		return err
	}
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

func (s *server) openUsage(ctx context.Context) (err error) {
	if s.journal, err = usage.Open(s.data.join(s.seat.journal()), s.store, usage.Options{Log: s.log.Named("usage")}); err != nil {
		return err
	}
	if err := s.journal.Start(ctx); err != nil {
		return err
	}
	s.onStop("usage journal", s.journal.Stop)
	return nil
}

// openRetention removes usage records that are old, once no journal has any that the store has too: those of a server that was killed, or
// of a backup, may be both.
func (s *server) openRetention(context.Context) error {
	settle := func(ctx context.Context) error {
		select {
		case <-s.alone:
			if s.left != nil {
				return s.left
			}
			return s.journal.Settle(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	pruner := usage.NewPruner(s.store, s.options.usageRetention, settle, s.clock.Now, s.log.Named("usage"))
	pruner.Start()
	s.onStop("removal of old usage", pruner.Stop)
	return nil
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
