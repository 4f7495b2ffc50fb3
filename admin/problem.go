package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// kind is what a problem's word says.
type kind struct {
	status int
	title  string
}

// kinds is the one table from a problem's word to its status and title. What is missing here is a mistake of ours.
var kinds = map[string]kind{
	"bad_request":            {http.StatusBadRequest, "The request is not valid"},
	deploy.InvalidRequest:    {http.StatusBadRequest, "The request is not valid"},
	"unauthorized":           {http.StatusUnauthorized, "A management token is needed"},
	"forbidden":              {http.StatusForbidden, "The token may not do that"},
	deploy.AboveCeiling:      {http.StatusForbidden, "More was asked for than the plan allows"},
	"not_found":              {http.StatusNotFound, "There is no such thing"},
	"method_not_allowed":     {http.StatusMethodNotAllowed, "The method is not allowed here"},
	"not_acceptable":         {http.StatusNotAcceptable, "The answer has another type"},
	"key_reused":             {http.StatusUnprocessableEntity, "The idempotency key belongs to another request"},
	"request_in_progress":    {http.StatusConflict, "The request is still worked on"},
	"outcome_unknown":        {http.StatusConflict, "Nobody knows what the request came to"},
	"conflict":               {http.StatusConflict, "It exists already"},
	"precondition_failed":    {http.StatusPreconditionFailed, "It has changed meanwhile"},
	"too_large":              {http.StatusRequestEntityTooLarge, "The request is too large"},
	"unsupported_media_type": {http.StatusUnsupportedMediaType, "The body has another type"},
	deploy.Internal:          {http.StatusInternalServerError, "The server could not do it"},
	deploy.Canceled:          {http.StatusServiceUnavailable, "The deploy or request was given up"},
	"draining":               {http.StatusServiceUnavailable, "The server is stopping"},
	"too_many":               {http.StatusTooManyRequests, "There are too many at a time"},
	"search_too_long":        {http.StatusBadRequest, "The search takes too long"},
	"no_room":                {http.StatusServiceUnavailable, "There is no room now"},
	"store_unavailable":      {http.StatusServiceUnavailable, "The database cannot be reached"},
}

// failure is the problem of a version that did not build or start, or a program that could not be started. Its word is one of
// deploy.Failures; some are words of kinds too, which there mean something else.
var failure = kind{http.StatusUnprocessableEntity, "The program could not be built or started"}

// requestError is what a handler returns for a request that is wrong in itself.
type requestError struct{ word, detail, remedy string }

func (e *requestError) Error() string { return e.detail }

func badRequest(detail, remedy string) error { return &requestError{"bad_request", detail, remedy} }

func notFound(detail, remedy string) error { return &requestError{"not_found", detail, remedy} }

// problemOf turns any error into what may be told. The text of an unknown one is for the log alone.
func problemOf(err error) *Problem {
	if e, ok := errors.AsType[*requestError](err); ok {
		return newProblem(e.word, e.detail, e.remedy, "")
	}
	if e, ok := errors.AsType[*deploy.Error](err); ok {
		if slices.Contains(deploy.Failures, e.Reason) {
			return failure.problem(e.Reason, e.Message, e.Remedy, e.Detail)
		}
		return newProblem(e.Reason, e.Message, e.Remedy, e.Detail)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem("too_large", fmt.Sprintf("the body has more than the %d bytes that are taken here", e.Limit), "send less", "")
	}
	switch {
	case errors.Is(err, sandbox.ErrNoRoom):
		return newProblem("no_room", "there is no room for another sandbox now", "try again soon", "")
	case errors.Is(err, sandbox.ErrStopped):
		return newProblem("draining", "the server is stopping", "try again when it is back", "")
	case errors.Is(err, store.ErrUnavailable):
		return newProblem("store_unavailable", "the database cannot be reached, or takes no changes, so nothing can be deployed or changed now; "+
			"known APIs are served meanwhile", "try again when it is back", "")
	case errors.Is(err, store.ErrNotFound):
		return newProblem("not_found", err.Error(), "", "")
	case errors.Is(err, store.ErrInvalid):
		return newProblem("bad_request", err.Error(), "", "")
	case errors.Is(err, store.ErrConflict):
		return newProblem("conflict", err.Error(), "choose another name", "")
	}
	return newProblem(deploy.Internal, "something went wrong inside the server", "look for the request id in its log", "")
}

func newProblem(word, detail, remedy, output string) *Problem {
	k, ok := kinds[word]
	if !ok {
		return newProblem(deploy.Internal, "something went wrong inside the server", "look for the request id in its log", "")
	}
	return k.problem(word, detail, remedy, output)
}

func (k kind) problem(word, detail, remedy, output string) *Problem {
	return &Problem{Type: word, Title: k.title, Status: k.status, Detail: detail, Remedy: remedy, Output: output}
}

// problem makes the problem of a request's error and logs what the caller does not get to read.
func (s *Server) problem(r *http.Request, err error) *Problem {
	p := problemOf(err)
	if ended := context.Cause(r.Context()); ended != nil && p.Type == deploy.Internal {
		p = givenUp(ended)
		s.cfg.Log.Info("management request that was given up", zap.String("request_id", requestID(r)), zap.Error(err))
	}
	p.RequestID = requestID(r)
	subjectOf(r.Context()).failed(p)
	if p.Type == deploy.Internal || p.Type == "store_unavailable" {
		s.cfg.Log.Error("management request", zap.String("request_id", p.RequestID), zap.String("method", r.Method),
			zap.String("path", r.URL.Path), zap.Error(err))
	}
	return p
}

// givenUp is the problem of a request whose context has ended for a cause: its client went away, or the server stops.
func givenUp(cause error) *Problem {
	if errors.Is(cause, context.Canceled) {
		return newProblem(deploy.Canceled, "the client went away", "send it again", "")
	}
	return newProblem("draining", "the request was given up: "+cause.Error(), "try again when the server is back", "")
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problem(r, err)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="management"`)
	}
	if p.Status == http.StatusTooManyRequests || p.Type == "no_room" {
		w.Header().Set("Retry-After", "1")
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts and numbers have a form in JSON
	}
	writeText(w, p.Status, "application/problem+json", append(text, '\n'))
}

func writeText(w http.ResponseWriter, status int, contentType string, text []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client is gone: nobody is left to tell
}
