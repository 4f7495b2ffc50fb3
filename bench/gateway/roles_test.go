package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/gateway"
	"apibuilder/ratelimit"
	"apibuilder/sandbox"
	"apibuilder/store"
	"apibuilder/store/sqlite"
	"apibuilder/usage"
)

const roleVariable = "BENCH_ROLE"

// play is what a child process does.
func play(role string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", os.Getenv("BENCH_ADDRESS"))
	if err != nil {
		return err
	}
	if role == "reverseproxy" {
		return bare(ctx, l)
	}
	if path := os.Getenv("BENCH_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return ours(ctx, l)
}

func dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", os.Getenv("BENCH_SOCKET"))
}

// bare is a httputil.ReverseProxy with as many idle connections as ours and a pool of buffers.
func bare(ctx context.Context, l net.Listener) error {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "program"})
	proxy.Transport = &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		MaxIdleConnsPerHost: 64, DisableCompression: true,
	}
	proxy.BufferPool = newBuffers()
	s := &http.Server{Handler: proxy, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // wrk leaves in the middle of answers
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type buffers chan []byte

func newBuffers() buffers { return make(buffers, 256) }

// Get implements httputil.BufferPool.
func (b buffers) Get() []byte {
	select {
	case p := <-b:
		return p
	default:
		return make([]byte, 32<<10)
	}
}

// Put implements httputil.BufferPool.
func (b buffers) Put(p []byte) {
	select {
	case b <- p:
	default:
	}
}

// ours is the gateway with everything on, in a process that is set up as serve sets it up.
func ours(ctx context.Context, l net.Listener) error {
	debug.SetGCPercent(50) // this and the next as package cli does
	defer runtime.KeepAlive(make([]byte, 64<<20))
	dir := filepath.Join(os.Getenv("BENCH_DIR"), "data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st, err := sqlite.Open(ctx, filepath.Join(dir, "store.db"))
	if err != nil {
		return err
	}
	defer st.Close()
	if err := fillStore(ctx, st); err != nil {
		return err
	}
	journal, err := usage.Open(filepath.Join(dir, "usage"), st, usage.Options{})
	if err != nil {
		return err
	}
	if err := journal.Start(ctx); err != nil {
		return err
	}
	g := gateway.New(gateway.Config{}, st, &stub{gateway.NewTransport(dial)}, ratelimit.New(nil), journal)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l, nil) }()
	select {
	case <-ctx.Done():
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	}
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(g.Drain(end), journal.Stop(end))
}

// fillStore makes an API whose requests are counted to three limits that none of them reaches.
func fillStore(ctx context.Context, st store.Store) error {
	endless := store.Rate{Requests: 1_000_000_000, Per: time.Second}
	_, err := st.CreateAPI(ctx, store.API{ID: "api_aaaaaaaaaaaaaaaa", Name: apiName, UserID: store.OperatorID, Rate: endless})
	if err != nil {
		return err
	}
	if _, err = st.AddVersion(ctx, store.Version{APIID: "api_aaaaaaaaaaaaaaaa", State: store.VersionBuilding}); err != nil {
		return err
	}
	_, err = st.CreateKey(ctx, store.Key{
		ID: "key_aaaaaaaaaaaaaaaa", APIID: "api_aaaaaaaaaaaaaaaa", Hash: store.HashSecret(testKey), Rate: endless,
	})
	return errors.Join(err,
		st.PutPlan(ctx, store.Plan{Name: store.DefaultPlan, Rate: endless}),
		st.Activate(ctx, "api_aaaaaaaaaaaaaaaa", 1))
}

// stub lends the program that all proxies have.
type stub struct{ transport *gateway.Transport }

// Acquire implements gateway.Sandboxes.
func (s *stub) Acquire(context.Context, string) (gateway.Lease, error) {
	return lease{s.transport}, nil
}

type lease struct{ *gateway.Transport }

// Version implements gateway.Lease.
func (lease) Version() int { return 1 }

// StartWait implements gateway.Lease.
func (lease) StartWait() time.Duration { return 0 }
func (lease) Startup() sandbox.Startup { return sandbox.Startup{} }

// CPUShare implements gateway.Lease.
func (lease) CPUShare() time.Duration { return 0 }

// Suspect implements gateway.Lease.
func (lease) Suspect() {}

// Release implements gateway.Lease.
func (lease) Release() {}

// Exit implements gateway.Lease.
func (lease) Exit(ctx context.Context) *sandbox.Exit {
	<-ctx.Done()
	return nil
}
