package gateway

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// run serves ANY /run/{api_id}/{path}. The order of the checks is that of the answers: an unknown API is told to
// everybody, what else is wrong with an API only to who may call it.
func (g *Gateway) run(w http.ResponseWriter, r *http.Request) {
	a := w.(*answer)
	ref, rest, ok := splitTarget(r.RequestURI)
	if !ok {
		a.problem(wordNotFound)
		return
	}
	a.from.prefix, a.from.bare = prefixOf(r.RequestURI, ref), isBare(r.RequestURI, ref)
	g.serveAPI(a, r, ref, rest)
}

// prefixOf is /run/{ref}, as a part of the target where that begins with it.
func prefixOf(target, ref string) string {
	if n := len(runPrefix) + len(ref); strings.HasPrefix(target, runPrefix) && len(target) >= n {
		return target[:n]
	}
	return runPrefix + ref
}

// isBare reports whether the path of a target is /run/{ref} alone.
func isBare(target, ref string) bool {
	rest := originForm(target)[len(runPrefix)+len(ref):]
	return rest == "" || rest[0] == '?'
}

// serveAPI serves a request to an API, wherever its address is; rest is the target that the program gets.
func (g *Gateway) serveAPI(a *answer, r *http.Request, ref, rest string) {
	switch {
	case len(r.RequestURI) > g.config.Limits.URLBytes: // by HTTP/2: in HTTP/1 the guard sees it first
		a.problem(wordURLTooLong)
		return
	case r.ProtoMajor > 1 && g.config.Limits.exceeded(r.Header, headBytes(r)): // as above
		a.problem(wordHeaderTooLarge)
		return
	case !isTarget(rest) || !isToken(r.Method) || r.ProtoMajor > 1 && !clearLength(r):
		a.problem(wordBadRequest)
		return
	case a.from.bare && opensPage(r):
		a.sendOn(a.from.prefix + rest)
		return
	}
	a.beginTrace(r)
	e, err := g.directory.api(r.Context(), ref)
	if err != nil {
		a.fail(err)
		return
	}
	a.cors = e.cors
	if word := a.from.unwelcome(r); word != "" {
		a.problem(word)
		return
	}
	p, word, err := g.admit(r, rest, e, a.start)
	switch {
	case err != nil:
		a.fail(err)
		return
	case word != "":
		a.problem(word)
		return
	}
	a.usage = &a.counted
	a.counted = store.Usage{
		ID: a.id, APIID: e.id, Version: e.version, KeyID: p.keyID, Node: g.config.Node,
		Time: a.start, Method: recordedMethod(r.Method), Path: recordedPath(rest),
	}
	limits := g.config.Limits.of(&e.options)
	if word = g.refuse(a, r, e, p, limits); word != "" {
		a.problem(word)
		return
	}
	if a.answerPreflight(r) || a.answerLast(r) {
		return
	}
	times := g.config.Timeouts.of(&e.options)
	began := a.trace.now()
	here, word, err := g.admission.enter(r.Context(), e.id, p.keyID, limits, times.Queue)
	defer a.parting.end(here, times.FirstByte)
	a.traceQueue(began, word, err)
	switch {
	case err != nil:
		a.fail(err)
	case word != "":
		a.problem(word)
	default:
		g.call(a, r, e, rest, limits, times)
	}
}

// fail answers with what an error of the directory or of Acquire stands for.
func (a *answer) fail(err error) {
	a.cause = err
	if a.request.Context().Err() != nil {
		a.gone()
		return
	}
	if exit, ok := errors.AsType[*sandbox.Exit](err); ok && !exit.RetryAt.IsZero() {
		a.retryAfter = time.Until(exit.RetryAt)
	}
	a.problem(wordOf(err))
}

// gone ends an answer that nobody is left to read.
func (a *answer) gone() {
	a.word, a.abort = a.gateway.goneWord(), true
	if a.status == 0 {
		a.status = statusClientGone
	}
}

// goneWord says who ended the consumer's connection.
func (g *Gateway) goneWord() string {
	if g.traffic.wasCut() {
		return wordDraining
	}
	return wordClientGone
}

// admit checks the key. It returns whom the request is counted to, or the word why it is refused.
func (g *Gateway) admit(r *http.Request, rest string, e *entry, now time.Time) (*pass, string, error) {
	var room [2]string
	secrets := secretsIn(r.Header, room[:0])
	keyless := e.public || e.publicDocs && isDocs(r, rest) || e.opens(r, rest)
	switch {
	case len(secrets) == 0 && keyless:
		return &pass{}, "", nil
	case isPreflight(r, secrets):
		return &pass{preflight: true}, "", nil
	case len(secrets) == 0:
		return nil, wordMissingKey, nil
	case len(secrets) > 1 && !keyless:
		return nil, wordConflictingKeys, nil
	case len(secrets) > 1:
		return &pass{}, "", nil
	}
	p, err := g.directory.pass(r.Context(), e, secrets[0])
	switch {
	case keyless && errors.Is(err, errStore): // it needs no key, so it needs nobody to know this one
		return &pass{}, "", nil
	case err != nil:
		return nil, "", err
	case p.opens(e):
		word := p.refuses(r, rest, now)
		if word != "" && keyless {
			return &pass{}, "", nil
		}
		return p, word, nil
	case keyless:
		return &pass{}, "", nil
	case p.noKey():
		return nil, wordInvalidKey, nil
	}
	return nil, wordWrongAPI, nil
}

// isPreflight reports whether r is the question that a browser asks before a request to another origin. It carries
// neither key nor body (Fetch standard, 4.8), so that the program must answer it without.
func isPreflight(r *http.Request, secrets []string) bool {
	return r.Method == http.MethodOptions && len(secrets) == 0 && r.ContentLength == 0 &&
		r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// isDocs reports whether r reads one of the pages that FastAPI makes of a program's routes. Nothing but their exact
// paths counts, so that no other spelling leads to another route without a key.
func isDocs(r *http.Request, rest string) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength != 0 || r.Header["Upgrade"] != nil {
		return false
	}
	path, _, _ := strings.Cut(rest, "?")
	switch path {
	case "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json":
		return true
	}
	return false
}

// refuse counts the request to its quotas and limits and returns the word why it goes no further, or nothing.
func (g *Gateway) refuse(a *answer, r *http.Request, e *entry, p *pass, limits Limits) string {
	if word := g.charge(a, r, e, p); word != "" {
		return word
	}
	if word := limits.refuses(r, &e.options); word != "" {
		return word
	}
	switch {
	case r.Method == http.MethodConnect:
		return wordMethodNotSupported
	case limits.BodyBytes > 0 && r.ContentLength > limits.BodyBytes:
		return wordBodyTooLarge
	case e.version == 0:
		return wordNotDeployed
	}
	return ""
}

// call borrows a sandbox for the request.
func (g *Gateway) call(a *answer, r *http.Request, e *entry, rest string, limits Limits, times Timeouts) {
	began := a.trace.now()
	a.wait.Context, a.wait.limit = r.Context(), g.config.StartTimeout
	lease, err := g.sandboxes.Acquire(&a.wait, e.id)
	a.wait.stop()
	a.traceStart(began, lease, err)
	if err != nil {
		a.fail(err)
		return
	}
	defer lease.Release()
	a.usage.Version, a.usage.StartWait = lease.Version(), lease.StartWait()
	newExchange(g, a, r, lease, limits, times).run(rest)
}

// recordedMethod bounds what a record holds of a method that the consumer made up.
func recordedMethod(method string) string {
	const longest = 32
	return method[:min(len(method), longest)]
}
