// Package admin is the operators' and authors' door: the management API, JSON over HTTP below /api/v1. It is reached over a
// Unix socket in the data directory, which only root may open, or over TCP with a token. Package client beside it speaks it.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// Bodies of requests are bounded: a deploy's is its text, in which JSON may write a character as six.
const (
	maxDeployBody  = 8 << 20
	maxArchiveBody = maxDeployBody + deploy.MaxArchiveBytes/3*4 + 4 // base64
	maxBody        = 64 << 10
	bodyTimeout    = time.Minute
	archiveTimeout = 5 * time.Minute
)

// Deployer is what deploys and deletes; deploy.Deployer is one.
type Deployer interface {
	Deploy(ctx context.Context, r deploy.Request) (deploy.Result, error)
	// Checks see the API as it is when it is about to be changed; the error of one is returned, wrapped, and nothing is changed.
	Delete(ctx context.Context, idOrName string, checks ...store.Check[store.API]) (store.API, error)
	// Rollback makes a version that was ready before serve again; number 0 means the newest before the active one.
	Rollback(ctx context.Context, idOrName string, number int, checks ...store.Check[store.API]) (store.API, error)
	// Traffic splits requests among versions by weight; one alone is promoted.
	Traffic(ctx context.Context, idOrName string, shares []store.Share, checks ...store.Check[store.API]) (store.API, error)
	// Promote gives all requests to a version; number 0 means the newest of the split.
	Promote(ctx context.Context, idOrName string, number int, checks ...store.Check[store.API]) (store.API, error)
	// Packages tells what a version is built from; number 0 is the version that serves.
	Packages(ctx context.Context, idOrName string, number int) (deploy.Packages, error)
	// Lock resolves requirements and builds nothing.
	Lock(ctx context.Context, r deploy.Request) (string, error)
	// Grant says what an API of the plan's user gets when its version asked for so much.
	Grant(plan store.Plan, asked store.Limits) deploy.Grant
	// CheckOptions refuses options that are above what the operator allows.
	CheckOptions(o store.Options) error
	// CheckInstances refuses settings, as they are asked for, that are above what the plan allows.
	CheckInstances(plan store.Plan, asked map[string]string) error
}

// Config is what a Server is told about the rest of the process.
type Config struct {
	URL   func(apiID string) string // an API's absolute address
	Info  func() ServerInfo         // APIs is filled in here
	Flush func(context.Context) error
	Log   *zap.Logger

	Pythons Pythons
	Secrets Secrets
	Metrics http.Handler // answers GET /metrics; nil: there is none
	// MayMap tells whether somebody may give an API a host name, in lower case; the zero user is who sees all APIs. Nil: nobody may.
	MayMap func(host string, by store.User) bool
	// Addresses are an API's own addresses besides URL; nil: it has none.
	Addresses func(store.API) []string
	// Run runs one-off code beside a version of an API and returns how it ended; an error where it did not, a *sandbox.Exit among
	// them.
	Run func(ctx context.Context, apiID string, version int, t sandbox.Task) (*sandbox.Exit, error)
	// Counts tells of an API's requests; nil: nobody counts them.
	Counts func(apiID string) RequestCounts
	// Changed is told of settings that were changed here, so that they act when the answer arrives; nil: nobody is.
	Changed func(api store.API)
}

// Server answers management requests. It may be used concurrently and owns no goroutine.
type Server struct {
	store     store.Store
	deployer  Deployer
	logs      Logs
	lifecycle Lifecycle
	cfg       Config
	mux       *http.ServeMux
	openapi   []byte
	loads     *loads
}

// New returns a Server. Config.Flush brings usage records that are still on their way into the store; nil: there are none.
func New(st store.Store, deployer Deployer, lifecycle Lifecycle, logs Logs, cfg Config) *Server {
	s := &Server{store: st, deployer: deployer, lifecycle: lifecycle, logs: logs, cfg: cfg, mux: http.NewServeMux(), loads: newLoads()}
	s.makeDocument()
	for pattern, handle := range s.routes() {
		s.mux.HandleFunc(pattern, s.handle(operations[pattern], handle))
	}
	if cfg.Metrics != nil {
		s.mux.Handle("GET /metrics", cfg.Metrics)
	}
	return s
}

// handler returns what to answer with status 200, or an error. One that wrote the answer itself returns written.
type handler func(w http.ResponseWriter, r *http.Request) (any, error)

// written says that a handler wrote its own answer.
var written = new(int)

func (s *Server) routes() map[string]handler {
	return map[string]handler{
		"POST /api/v1/deploys": s.deploy,

		"GET /api/v1/apis":          s.listAPIs,
		"GET /api/v1/apis/{api}":    s.showAPI,
		"PATCH /api/v1/apis/{api}":  s.patchAPI,
		"DELETE /api/v1/apis/{api}": s.deleteAPI,

		"GET /api/v1/apis/{api}/keys":  s.listKeys,
		"POST /api/v1/apis/{api}/keys": s.createKey,

		"DELETE /api/v1/users/{user}/keys/{key}":      s.revokeKey,
		"POST /api/v1/users/{user}/keys/{key}/rotate": s.rotateKey,
		"POST /api/v1/apis/{api}/keys/{key}/rotate":   s.rotateKey,

		"DELETE /api/v1/apis/{api}/keys/{key}": s.revokeKey,
		"GET /api/v1/users/{user}/keys":        s.listKeys,
		"POST /api/v1/users/{user}/keys":       s.createKey,
		"GET /api/v1/keys":                     s.listKeys,
		"POST /api/v1/keys/{key}/rotate":       s.rotateKey,
		"DELETE /api/v1/keys/{key}":            s.revokeKey,
		"GET /api/v1/apis/{api}/logs":          s.readLogs,
		"POST /api/v1/apis/{api}/sleep":        s.sleepAPI,
		"POST /api/v1/apis/{api}/wake":         s.wakeAPI,
		"POST /api/v1/apis/{api}/rollback":     s.rollbackAPI,
		"POST /api/v1/apis/{api}/promote":      s.promoteAPI,
		"PUT /api/v1/apis/{api}/traffic":       s.setTraffic,

		"GET /api/v1/apis/{api}/versions":                       s.listVersions,
		"GET /api/v1/apis/{api}/versions/{version}":             s.showVersion,
		"GET /api/v1/apis/{api}/versions/{version}/environment": s.showEnvironment,
		"GET /api/v1/apis/{api}/versions/{version}/source":      s.showSource,
		"POST /api/v1/apis/{api}/exec":                          s.exec,

		"GET /api/v1/apis/{api}/keys/{key}":   s.showKey,
		"GET /api/v1/users/{user}/keys/{key}": s.showKey,
		"GET /api/v1/keys/{key}":              s.showKey,
		"GET /api/v1/users/{user}":            s.showUser,
		"GET /api/v1/plans/{plan}":            s.showPlan,
		"GET /api/v1/tokens/{token}":          s.showToken,

		"POST /api/v1/locks": s.makeLock,

		"GET /api/v1/pythons":             s.listPythons,
		"POST /api/v1/pythons":            s.addPython,
		"DELETE /api/v1/pythons/{python}": s.removePython,

		"GET /api/v1/users":             s.listUsers,
		"POST /api/v1/users":            s.createUser,
		"PATCH /api/v1/users/{user}":    s.patchUser,
		"GET /api/v1/plans":             s.listPlans,
		"PUT /api/v1/plans/{plan}":      s.putPlan,
		"PATCH /api/v1/plans/{plan}":    s.patchPlan,
		"GET /api/v1/tokens":            s.listTokens,
		"POST /api/v1/tokens":           s.createToken,
		"DELETE /api/v1/tokens/{token}": s.revokeToken,
		"GET /api/v1/usage":             s.readUsage,
		"GET /api/v1/audit":             s.readAudit,
		"GET /api/v1/usage/sums":        s.sumUsage,
		"GET /api/v1/usage/egress":      s.sumEgress,
		"POST /api/v1/secrets/rotate":   s.rotateSecrets,
		"GET /api/v1/quotas":            s.listQuotas,
		"GET /api/v1/server":            s.showServer,
		"GET /api/v1/nodes":             s.listNodes,
		"GET /api/v1/top":               s.showTop,
		"GET /api/v1/openapi.json":      s.showDocument,
	}
}

// Local serves callers who are known to be root: those of ListenUnix.
func (s *Server) Local() http.Handler {
	return s.prepare(func(w http.ResponseWriter, r *http.Request) {
		s.audited(s.serve)(w, asCaller(r, caller{role: store.RoleOperator}))
	})
}

// Remote serves callers who present a token that was not revoked.
func (s *Server) Remote() http.Handler {
	return s.prepare(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.checkToken(r)
		if err != nil {
			w.Header().Set("Connection", "close") // a stranger's body is not read, and his connection takes no place of others'
			s.fail(w, r, err)
			return
		}
		s.audited(s.admitted(s.serve))(w, asCaller(r, c))
	})
}

func (s *Server) prepare(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = withRequestID(r)
		p := &patient{ResponseWriter: w}
		p.wait(bodyTimeout)
		defer p.end(r.ContentLength != 0)
		p.Header().Set("X-Request-ID", requestID(r))
		next(p, r)
	})
}

// serve finds the route. ServeMux would answer a miss in plain text.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if pattern := s.pattern(r); pattern != "" {
		if !callerOf(r.Context()).may(pattern) {
			s.fail(w, r, &requestError{
				"forbidden", "this token may not do that", "ask the operator, or use a token of another role",
			})
			return
		}
		if err := operations[pattern].take(r, bodyLimit(pattern)); err != nil {
			s.fail(w, r, err)
			return
		}
		s.once(s.mux.ServeHTTP)(w, r)
		return
	}
	methods := s.methods(r)
	switch {
	case methods == nil:
		s.fail(w, r, notFound(fmt.Sprintf("there is no %q", r.URL.Path), "the management API is below /api/v1"))
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", strings.Join(methods, ", "))
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", strings.Join(methods, ", "))
		s.fail(w, r, &requestError{"method_not_allowed", r.Method + " is not allowed here", "see the Allow header"})
	}
}

func (s *Server) handle(op operation, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var answer any
		err := op.check(r)
		if err == nil {
			answer, err = h(w, r)
		}
		if t, ok := answer.(tagged); ok && err == nil {
			w.Header().Set("ETag", t.tag)
			answer = t.answer
		}
		switch {
		case err != nil:
			s.fail(w, r, err)
		case answer != any(written):
			s.answer(w, r, answer)
		}
	}
}

// answer writes a good answer. One that is large counts until it is taken.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, answer any) {
	text, err := json.Marshal(answer)
	if err == nil {
		err = callerOf(r.Context()).visit.hold(r.Context(), int64(len(text)))
	}
	if err != nil {
		s.fail(w, r, fmt.Errorf("answer: %w", err))
		return
	}
	writeText(w, http.StatusOK, "application/json", append(text, '\n'))
}

// timeFor is how long a body, or an answer, of at most so many bytes may take.
func timeFor(limit int64) time.Duration {
	if limit > maxDeployBody {
		return archiveTimeout
	}
	return bodyTimeout
}

// decode reads a body of one JSON value. Unknown fields are errors, so that a misspelt one is not lost without a word.
func decode(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(timeFor(limit))) // a writer that cannot is a test's
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	// What is no UTF-8 would be replaced without a word, in programs and in secrets.
	d := json.NewDecoder(transform.NewReader(http.MaxBytesReader(w, r.Body, limit), encoding.UTF8Validator))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("something follows the JSON value")
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge
	}
	if errors.Is(err, encoding.ErrInvalidUTF8) {
		return badRequest("the body is not UTF-8 text", "encode it as UTF-8, and binary values in it as base64")
	}
	return badRequest("the body is not the JSON that is expected: "+whatDiffers(err), "compare it with GET /api/v1/openapi.json")
}

// whatDiffers says in JSON's words why a body could not be decoded.
func whatDiffers(err error) string {
	kind, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return strings.TrimPrefix(err.Error(), "json: ")
	}
	expected := "number"
	switch kind.Type.Kind() {
	case reflect.String:
		expected = "string"
	case reflect.Bool:
		expected = "boolean"
	case reflect.Slice, reflect.Array:
		expected = "array"
	case reflect.Struct, reflect.Map:
		expected = "object"
	}
	if kind.Field == "" {
		return fmt.Sprintf("it has the type %s in place of %s", kind.Value, expected)
	}
	return fmt.Sprintf("%q has the type %s in place of %s", kind.Field, kind.Value, expected)
}

func (s *Server) showServer(_ http.ResponseWriter, r *http.Request) (any, error) {
	apis, err := s.visible(r.Context())
	if err != nil {
		return nil, err
	}
	info := s.cfg.Info()
	c := callerOf(r.Context())
	info.APIs = len(apis)
	if !c.seesAll() { // they rise with what others do
		info.PID, info.Goroutines = 0, 0
	}
	return info, nil
}
