package cli

import (
	"context"

	"go.uber.org/zap"

	"apibuilder/deploy"
	"apibuilder/gateway"
	"apibuilder/sandbox"
	"apibuilder/store"
)

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
	s.exits = exits{store: s.store, log: s.log.Named("sandbox")}
	s.onStop("records of how sandboxes ended", s.exits.stop)
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

// runTask runs one-off code beside a version of an API.
func (s *server) runTask(ctx context.Context, apiID string, version int, t sandbox.Task) (*sandbox.Exit, error) {
	spec, err := s.deployer.Source(ctx, apiID, version)
	if err != nil {
		return nil, err
	}
	return s.manager.Run(ctx, spec, t)
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
	s.exits.keep(store.Exit{
		APIID: e.API, Version: e.Version, Reason: string(e.Reason), Detail: e.Detail, Output: e.Output, Time: e.At,
	})
}
