package admin

import (
	"context"
	"net/http"
	"time"
)

// Pythons are the interpreters of this machine. Their errors that the operator can mend are *deploy.Error.
type Pythons interface {
	// List is in the order of preference.
	List(ctx context.Context) ([]Python, error)
	// Add offers the interpreter at an absolute path of the server's machine, also after a restart.
	Add(ctx context.Context, path string) (Python, error)
	// Install fetches a version.
	Install(ctx context.Context, version string, progress func(string)) (Python, error)
	// Remove takes one that was added away, by its version or path, unless a serving API runs with it.
	Remove(ctx context.Context, which string) (Python, error)
}

// Python describes an interpreter.
type Python struct {
	Version  string     `json:"version,omitempty"`
	Path     string     `json:"path"`
	Default  bool       `json:"default,omitempty"`
	AddedAt  *time.Time `json:"added_at,omitempty"` // absent: the system's own
	Origin   string     `json:"origin,omitempty"`   // what it was added by
	Copied   bool       `json:"copied,omitempty"`   // Path is a copy in the data directory
	Unusable string     `json:"unusable,omitempty"` // why
}

// PythonRequest is the body of POST /api/v1/pythons: one of the two.
type PythonRequest struct {
	Path    string `json:"path,omitempty"`
	Version string `json:"version,omitempty"` // to install
}

// PythonEvent is one line of the answer: any number with Progress, then one with Python or Error.
type PythonEvent struct {
	Progress string   `json:"progress,omitempty"`
	Python   *Python  `json:"python,omitempty"`
	Error    *Problem `json:"error,omitempty"`
}

func (s *Server) listPythons(w http.ResponseWriter, r *http.Request) (any, error) {
	all, err := s.cfg.Pythons.List(r.Context())
	if err != nil {
		return nil, err
	}
	type placed struct {
		Python
		place int
	}
	var list []placed
	for i, p := range all {
		list = append(list, placed{p, i})
	}
	key := func(p placed) []string { return []string{padded(int64(p.place)), p.Path} }
	return pageOf(w, r, "pythons", list, key, func(p placed) Python { return p.Python })
}

func (s *Server) addPython(w http.ResponseWriter, r *http.Request) (any, error) {
	var body PythonRequest
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if (body.Path == "") == (body.Version == "") {
		return nil, badRequest("neither a path nor a version is given, or both", "give the path of a Python to add, or a version to install")
	}
	stream := newStream(w)
	var p Python
	var err error
	if body.Path != "" {
		p, err = s.cfg.Pythons.Add(r.Context(), body.Path)
	} else {
		p, err = s.cfg.Pythons.Install(r.Context(), body.Version, func(line string) { stream.send(PythonEvent{Progress: line}) })
	}
	if err != nil {
		stream.send(PythonEvent{Error: s.problem(r, err)})
		return written, nil
	}
	stream.send(PythonEvent{Python: &p})
	return written, nil
}

func (s *Server) removePython(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.cfg.Pythons.Remove(r.Context(), r.PathValue("python"))
}
