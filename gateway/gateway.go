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
// (Fetch standard, 3.3.8), the interactive documentation when the API's PublicDocs says so, and what its option public-paths
// names. They are counted to the limits of the API and of its owner's plan; preflights for what needs a key are counted apart.
package gateway

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

// Config is how a Gateway behaves. The zero value is usable: each zero field means its default.
type Config struct {
	// Timeouts and Limits hold for every API whose owner has set no others.
	Timeouts Timeouts
	Limits   Limits
	// StartTimeout bounds the wait for a sandbox; the sandboxes' own start timeout should be shorter. Default 2m.
	StartTimeout time.Duration
	// ExitWait is how long a broken exchange waits to learn how the sandbox ended. Default 2s.
	ExitWait time.Duration
	// TrustedProxies are believed about where a consumer's request comes from: what they say in X-Forwarded-For, -Proto and
	// -Host, and in the PROXY protocol, counts. Default: nobody.
	TrustedProxies Proxies
	// ReadForwarded says that the trusted proxies write Forwarded (RFC 7239): it is read in place of the X-Forwarded- fields.
	ReadForwarded bool
	// ProxyProtocol says that trusted proxies begin each connection with the PROXY protocol, version 1 or 2.
	ProxyProtocol bool
	// AppsDomain is a domain below which each API has an address of its own: apps.example.com gives the API hello all of
	// hello.apps.example.com. In lower case; empty: none.
	AppsDomain string
	// MappedHosts are the names that may be addresses of APIs by their option host. Who sees to it that they belong to the
	// APIs' owners is the operator.
	MappedHosts Hosts
	// PublicHost is the gateway's own name, in lower case: never an API's, whatever MappedHosts are. It may be empty.
	PublicHost string
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
	// Tell hears of every Event, from the requests' goroutines, as fast as they come: it must be quick. nil: nobody does.
	Tell func(Event)
	// Tracer makes a span of each request to an API, with spans of its steps below it. nil: none, at no cost; a traceparent then
	// passes through to the program as it came.
	Tracer trace.Tracer
	// ContinueTraces says that the trace that a consumer names in traceparent goes on. Otherwise each request begins one, with
	// a link to the consumer's.
	ContinueTraces bool
	// Log receives one line for each request: at level info when the answer is a server error, at debug otherwise. No
	// query, header field or body is in it. Default: none.
	Log *zap.Logger
}

func (c Config) withDefaults() Config {
	c.Timeouts, c.Limits = c.Timeouts.withDefaults(), c.Limits.withDefaults()
	c.StartTimeout, c.ExitWait = cmp.Or(c.StartTimeout, 2*time.Minute), cmp.Or(c.ExitWait, 2*time.Second)
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
	// Allow charges one request to all checks, or to none of them. It does not keep them.
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

	appsSuffix string     // of AppsDomain, with the dot
	mapped     *hostTable // nil: no name may be mapped

	traffic   traffic
	admission admission
	templates templates
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
		directory: newDirectory(st, c.Quotas),
	}
	g.admission.most = g.mostRequests
	g.router = mux.NewRouter().SkipClean(true).UseEncodedPath()
	g.router.PathPrefix("/run/").HandlerFunc(g.run)
	g.router.HandleFunc("/healthz", g.healthz)
	g.router.HandleFunc("/readyz", g.readyz)
	if c.AppsDomain != "" {
		g.appsSuffix = "." + c.AppsDomain
	}
	if !c.MappedHosts.empty() {
		g.mapped = newHostTable(st)
	}
	g.router.NotFoundHandler = http.HandlerFunc(notFound)
	return g
}

// mostRequests says for admission how many requests of an API may be with its program now.
func (g *Gateway) mostRequests(api string) (most int, known bool) {
	e := g.directory.peek(api)
	if e == nil {
		return 0, false
	}
	return g.config.Limits.of(&e.options).APIRequests, true
}

// ServeHTTP answers one request. It panics with http.ErrAbortHandler, which servers know, when an answer broke off
// after its header was sent: only so does the consumer see that it is not whole.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.traffic.begin()
	defer g.traffic.end()
	if c := connOf(r); c != nil {
		c.used()
		r.TLS = c.security()
	}
	a := newAnswer(g, w, r)
	defer a.finish(r)
	a.from = originOf(r, &g.config)
	r.Host = a.from.host
	// The answer may begin before the upload ends, and the server must not read what is left of it first.
	_ = a.control.EnableFullDuplex()
	if !a.from.possible(connOf(r)) {
		a.problem(wordBadRequest)
		return
	}
	switch {
	case g.answerOwn(a):
	case strings.HasPrefix(r.RequestURI, runPrefix): // what the router would find too, with two copies of the request
		g.run(a, r)
	default:
		g.router.ServeHTTP(a, r)
	}
}

// refuseHead answers a request whose head nobody may see.
func (g *Gateway) refuseHead(w http.ResponseWriter, r *http.Request, word string) {
	g.traffic.begin()
	defer g.traffic.end()
	if c := connOf(r); c != nil {
		c.used()
	}
	a := newAnswer(g, w, r)
	defer a.finish(r)
	a.problem(word)
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
