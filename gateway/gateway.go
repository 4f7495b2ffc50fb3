// Package gateway is the consumers' door: it finds the API that a request is for, checks the key and the limits, borrows
// a sandbox, and passes the request to the program in it and the answer back, both while they arrive. On the way:
//
//	consumer -> request id -> mux -> directory (API, key) -> limits -> Sandboxes.Acquire -> exchange -> Lease
//	                                                                                           |
//	                                                          usage record before the end <- answer
//
// Nothing here reads the store when the API and the key are known, nothing holds a whole body, and every wait ends: with
// the consumer's connection, or after a time in Config. What consumers and programs send is hostile; what they cannot do
// is written where it is prevented.
//
// Some requests need no key although the API is private: the preflight of CORS, in which browsers cannot send one
// (Fetch standard, 3.3.8), and the interactive documentation when the API's PublicDocs says so. They are counted to the
// limits of the API and of its owner's plan.
package gateway

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"go.uber.org/zap"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

// Config is how a Gateway behaves. The zero value is usable: each zero field means its default.
type Config struct {
	// RequestTimeout bounds the wait for the program's response header. While a body is being uploaded it starts again
	// with each piece. Default 60s.
	RequestTimeout time.Duration
	// StartTimeout bounds the wait for a sandbox; the sandboxes' own start timeout should be shorter. Default 2m.
	StartTimeout time.Duration
	// IdleTimeout ends an answer or an upgraded connection on which nothing moved for so long. Default 5m.
	IdleTimeout time.Duration
	// ExitWait is how long a broken exchange waits to learn how the sandbox ended. Default 2s.
	ExitWait time.Duration
	// MaxBodyBytes is the largest request body; 0 means no bound.
	MaxBodyBytes int64
	// MaxHeaderBytes bounds the request line and the header fields of a request, together. Default 64 KiB.
	MaxHeaderBytes int
	// MaxURLBytes bounds the request target. Default 16 KiB.
	MaxURLBytes int
	// Ready says whether requests can be served; nil means always. Its error is logged, not shown. It must honour its
	// context.
	Ready func(context.Context) error
	// Note says what is not well although requests can be served, for whoever asks for readiness; empty: nothing. nil means
	// never anything. It must honour its context.
	Note func(context.Context) string
	// Quotas count requests of a month. Default: from the start of this process.
	Quotas Quotas
	// Node names this server in usage records.
	Node string
	// Log receives one line for each request: at level info when the answer is a server error, at debug otherwise. No
	// query, header field or body is in it. Default: none.
	Log *zap.Logger
}

func (c Config) withDefaults() Config {
	for field, value := range map[*time.Duration]time.Duration{
		&c.RequestTimeout: 60 * time.Second,
		&c.StartTimeout:   2 * time.Minute,
		&c.IdleTimeout:    5 * time.Minute,
		&c.ExitWait:       2 * time.Second,
	} {
		if *field <= 0 {
			*field = value
		}
	}
	c.MaxHeaderBytes, c.MaxURLBytes = cmp.Or(c.MaxHeaderBytes, headerBytes), cmp.Or(c.MaxURLBytes, urlBytes)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Quotas == nil {
		c.Quotas = uncounted()
	}
	return c
}

// Limiter counts requests. ratelimit.Limiter is one.
type Limiter interface {
	// Allow charges one request to all checks, or to none of them.
	Allow(checks ...ratelimit.Check) ratelimit.Result
}

// Journal keeps usage records.
type Journal interface {
	// Record returns once the record will survive the end of this process. It may be called concurrently.
	Record(store.Usage) error
}

// Gateway is an http.Handler. It may be used by several servers at once; Drain ends it.
type Gateway struct {
	config    Config
	sandboxes Sandboxes
	limiter   Limiter
	journal   Journal
	log       *zap.Logger
	router    *mux.Router
	directory *directory
	traffic   traffic
}

// New returns a Gateway that reads what it needs to know from st, and subscribes to its changes until Drain.
func New(c Config, st Store, sandboxes Sandboxes, limiter Limiter, journal Journal) *Gateway {
	c = c.withDefaults()
	g := &Gateway{
		config:    c,
		sandboxes: sandboxes,
		limiter:   limiter,
		journal:   journal,
		log:       c.Log,
		directory: newDirectory(st),
	}
	g.router = mux.NewRouter().SkipClean(true).UseEncodedPath()
	g.router.PathPrefix("/run/").HandlerFunc(g.run)
	g.router.HandleFunc("/healthz", g.healthz)
	g.router.HandleFunc("/readyz", g.readyz)
	g.router.NotFoundHandler = http.HandlerFunc(notFound)
	return g
}

// ServeHTTP answers one request. It panics with http.ErrAbortHandler, which net/http knows, when an answer broke off
// after its header was sent: only so does the consumer see that it is not whole.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.traffic.begin()
	defer g.traffic.end()
	if c := connOf(r); c != nil {
		c.inside.Store(true)
		r.TLS = c.security()
	}
	a := newAnswer(g, w, r)
	defer a.finish(r)
	// The answer may begin before the upload ends, and net/http must not read what is left of it first.
	_ = a.control.EnableFullDuplex()
	g.router.ServeHTTP(a, r)
}

func notFound(w http.ResponseWriter, _ *http.Request) { w.(*answer).problem(wordNotFound) }

func (g *Gateway) healthz(w http.ResponseWriter, r *http.Request) {
	if a := w.(*answer); a.reads(r) {
		a.plain("ok\n")
	}
}

func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	a := w.(*answer)
	if !a.reads(r) {
		return
	}
	if err := g.ready(r.Context()); err != nil {
		a.cause = err
		a.problem(wordNotReady)
		return
	}
	if note := g.note(r.Context()); note != "" {
		a.plain("ready: " + note + "\n")
		return
	}
	a.plain("ready\n")
}

func (g *Gateway) note(ctx context.Context) string {
	if g.config.Note == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	return g.config.Note(ctx)
}

func (g *Gateway) ready(ctx context.Context) error {
	if g.traffic.draining() {
		return errDraining
	}
	if g.config.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return g.config.Ready(ctx)
}

const (
	readyTimeout = 5 * time.Second
	noteTimeout  = 2 * time.Second // a load balancer waits no longer
)
