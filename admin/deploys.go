package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"apibuilder/deploy"
	"apibuilder/store"
)

// deploy streams what happens as lines of JSON. Once it has begun its status is 200 whatever comes; the last line tells.
func (s *Server) deploy(w http.ResponseWriter, r *http.Request) (any, error) {
	var body DeployRequest
	if err := decode(w, r, maxArchiveBody, &body); err != nil {
		return nil, err
	}
	subjectOf(r.Context()).called(body.Name)
	request, err := s.deployRequest(r, body)
	if err != nil {
		return nil, err
	}
	_, _ = s.api(r.Context(), body.Name) // what there is of the name is what a deploy that fails is about; the deploy tells of errors
	if len(body.Archive) > 0 {
		if err := callerOf(r.Context()).visit.unpack(r.Context()); err != nil {
			return nil, err
		}
	}
	stream := newStream(w)
	request.Progress = func(line string) { stream.send(DeployEvent{Progress: line}) }
	result, err := s.deployer.Deploy(r.Context(), request)
	if err != nil {
		s.cfg.Log.Info("deploy failed", zap.String("request_id", requestID(r)), zap.String("name", body.Name), zap.Error(err))
		stream.send(DeployEvent{Error: s.problem(r, err)})
		return written, nil
	}
	subjectOf(r.Context()).is(result.API)
	stream.send(DeployEvent{Result: s.resultOut(result)})
	return written, nil
}

// longestName bounds what an API is called in a body, by its name or its id: it is in the log and in errors.
const longestName = 200

func (s *Server) deployRequest(r *http.Request, b DeployRequest) (deploy.Request, error) {
	if len(b.Name) > longestName || len(b.User) > longestName {
		return deploy.Request{}, badRequest(fmt.Sprintf("a name has more than %d bytes", longestName), "name the API, and the user, as they are called")
	}
	request := deploy.Request{
		Name: b.Name, Code: b.Code, Archive: b.Archive, Entry: b.Entry, Requirements: b.Requirements, Python: b.Python, Env: b.Env,
		Limits:  store.Limits{MemoryBytes: b.Limits.MemoryBytes, CPU: b.Limits.CPU, Pids: b.Limits.Pids},
		Upgrade: b.Upgrade, Public: b.Public, PublicDocs: b.PublicDocs, Options: b.Options,
	}
	if err := s.checkHost(r.Context(), b.Options); err != nil {
		return request, err
	}
	if b.Rate != nil {
		rate, err := rateIn(b.Rate)
		if err != nil {
			return request, err
		}
		request.Rate = &rate
	}
	c := callerOf(r.Context())
	if !c.seesAll() {
		if err := s.checkOwn(r.Context(), c, b); err != nil {
			return request, err
		}
		request.UserID, request.OwnOnly = c.userID, true
		return request, nil
	}
	if b.User != "" {
		user, err := s.user(r.Context(), b.User)
		if err != nil {
			return request, err
		}
		request.UserID = user.ID
	}
	return request, nil
}

func (s *Server) resultOut(d deploy.Result) *DeployResult {
	url := s.cfg.URL(d.API.ID)
	return &DeployResult{
		ID: d.API.ID, Name: d.API.Name, Version: d.Version, URL: url, Key: d.Secret, DocsURL: url + "/docs",
		Created: d.Created, Public: d.API.Public,
		BuildSeconds: d.BuildTime.Seconds(), StartSeconds: d.StartTime.Seconds(),
	}
}

// stream writes one JSON value a line, each at once. It may be used concurrently.
type stream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	encoder *json.Encoder
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	s := &stream{w: w, encoder: json.NewEncoder(w)}
	_ = http.NewResponseController(w).Flush()
	return s
}

// send reports whether the client is still there.
func (s *stream) send(v any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.encoder.Encode(v) != nil {
		return false
	}
	return http.NewResponseController(s.w).Flush() == nil
}

// checkOwn refuses a deploy that an author may not make. Whether a name is taken is told by the deploy itself.
func (s *Server) checkOwn(ctx context.Context, c caller, b DeployRequest) error {
	if b.User != "" {
		user, err := s.store.User(ctx, b.User)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if user.ID != c.userID || err != nil {
			return &requestError{"forbidden", "this token deploys for its own user only", "leave the user out"}
		}
	}
	if store.ValidName(b.Name) == nil {
		return nil
	}
	_, err := s.api(ctx, b.Name) // an id stands for an API that is there
	return err
}
