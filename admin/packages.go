package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"apibuilder/deploy"
	"apibuilder/store"
)

// VersionEnvironment is the answer of GET /api/v1/apis/{api}/versions/{version}/environment, where version is a number or
// "active": what a version is built from. Lock and Packages are absent while it was never built.
type VersionEnvironment struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	Version      int        `json:"version"`
	Asked        string     `json:"asked_python,omitempty"` // as in the deploy
	Python       string     `json:"python,omitempty"`       // the release that the lock is for
	Environment  string     `json:"environment,omitempty"`  // its key
	Built        bool       `json:"built"`                  // it is on this machine now
	Interpreter  string     `json:"interpreter,omitempty"`  // path of its Python; with the fields below, when built
	Bytes        int64      `json:"bytes,omitempty"`
	Files        int        `json:"files,omitempty"`
	BuiltAt      *time.Time `json:"built_at,omitempty"`
	Requirements string     `json:"requirements,omitempty"`
	Packages     []Package  `json:"packages"`
	Lock         string     `json:"lock,omitempty"`
}

// Package is one package of an environment.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// LockRequest is the body of POST /api/v1/locks.
type LockRequest struct {
	Requirements string `json:"requirements,omitempty"`
	Code         string `json:"code,omitempty"` // its script metadata counts when there are no requirements
	Python       string `json:"python,omitempty"`
}

// LockEvent is one line of the answer: any number with Progress, then one with Lock or Error.
type LockEvent struct {
	Progress string   `json:"progress,omitempty"`
	Lock     string   `json:"lock,omitempty"`
	Error    *Problem `json:"error,omitempty"`
}

func (s *Server) showEnvironment(_ http.ResponseWriter, r *http.Request) (any, error) {
	number, err := versionNumber(r.PathValue("version"))
	if err != nil {
		return nil, err
	}
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	p, err := s.deployer.Packages(r.Context(), api.ID, number)
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(fmt.Sprintf("API %s has no version %d", api.Name, number), "see `apibuilder apis show "+api.Name+"`")
	}
	if err != nil {
		return nil, err
	}
	return packagesOut(p), nil
}

// versionNumber reads a version's number; "active" is 0.
func versionNumber(text string) (int, error) {
	if text == "active" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, badRequest(fmt.Sprintf("%q is no version", text), "give a number like 3, or active")
	}
	return n, nil
}

func packagesOut(p deploy.Packages) VersionEnvironment {
	out := VersionEnvironment{
		ID: p.API.ID, Name: p.API.Name, Version: p.Version.Number, Asked: p.Version.Python, Python: p.Python,
		Environment: p.Version.Environment, Requirements: p.Version.Requirements, Lock: p.Version.Lock,
		Packages: each(p.Locked, func(l deploy.Package) Package { return Package(l) }),
	}
	if e := p.Environment; e != nil {
		out.Built, out.Interpreter, out.Bytes, out.Files, out.BuiltAt = true, e.Interpreter.Path, e.Bytes, e.Files, timeOut(e.Created)
	}
	return out
}

// makeLock resolves and builds nothing. It streams what happens, as a deploy does.
func (s *Server) makeLock(w http.ResponseWriter, r *http.Request) (any, error) {
	var body LockRequest
	if err := decode(w, r, maxDeployBody, &body); err != nil {
		return nil, err
	}
	stream := newStream(w)
	lock, err := s.deployer.Lock(r.Context(), deploy.Request{
		Requirements: body.Requirements, Code: body.Code, Python: body.Python,
		Progress: func(line string) { stream.send(LockEvent{Progress: line}) },
	})
	if err != nil {
		stream.send(LockEvent{Error: s.problem(r, err)})
		return written, nil
	}
	stream.send(LockEvent{Lock: lock})
	return written, nil
}
