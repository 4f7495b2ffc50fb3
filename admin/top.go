package admin

import (
	"net/http"
	"time"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// RequestCounts are the finished requests of an API that this server has answered since its start.
type RequestCounts struct {
	Requests     int64
	ClientErrors int64 // answered with a status from 400 to 499
	ServerErrors int64 // from 500 on
}

// Top is the answer of GET /api/v1/top: what the APIs do at the moment, on this server. Rates follow from two of them.
type Top struct {
	At   time.Time `json:"at"`
	APIs []TopAPI  `json:"apis"`
}

// TopAPI is one API of Top. What counts up begins anew with the server.
type TopAPI struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	State   string `json:"state"`   // running, starting, asleep, held_off, crash_loop or deploying
	Version int    `json:"version"` // the active one

	Requests     int64         `json:"requests"`
	ClientErrors int64         `json:"client_errors"`
	ServerErrors int64         `json:"server_errors"`
	InFlight     int           `json:"in_flight"`
	MemoryBytes  int64         `json:"memory_bytes"`
	Instances    []TopInstance `json:"instances"`
}

// TopInstance is one sandbox of an API.
type TopInstance struct {
	ID          string  `json:"id"`
	Version     int     `json:"version"`
	State       string  `json:"state"` // as of Instance
	InFlight    int     `json:"in_flight"`
	MemoryBytes int64   `json:"memory_bytes"`
	CPUSeconds  float64 `json:"cpu_seconds"` // since its start
}

func (s *Server) showTop(_ http.ResponseWriter, r *http.Request) (any, error) {
	apis, err := s.visible(r.Context())
	if err != nil {
		return nil, err
	}
	top := Top{At: time.Now().UTC(), APIs: each(apis, s.topOf)}
	return top, nil
}

func (s *Server) topOf(api store.API) TopAPI {
	out := TopAPI{ID: api.ID, Name: api.Name, Version: api.ActiveVersion, Instances: []TopInstance{}}
	if s.cfg.Counts != nil {
		counts := s.cfg.Counts(api.ID)
		out.Requests, out.ClientErrors, out.ServerErrors = counts.Requests, counts.ClientErrors, counts.ServerErrors
	}
	running := false
	for _, i := range s.lifecycle.Instances(api.ID) {
		running = running || i.State != sandbox.Starting
		out.InFlight += i.InFlight
		out.MemoryBytes += i.MemoryBytes
		out.Instances = append(out.Instances, TopInstance{
			ID: i.ID, Version: i.Version, State: string(i.State), InFlight: i.InFlight, MemoryBytes: i.MemoryBytes,
			CPUSeconds: i.CPUTime.Seconds(),
		})
	}
	trouble, held := s.lifecycle.Trouble(api.ID)
	switch {
	case running:
		out.State = "running"
	case len(out.Instances) > 0:
		out.State = "starting"
	case held && trouble.Loop:
		out.State = "crash_loop"
	case held:
		out.State = "held_off"
	case api.ActiveVersion == 0:
		out.State = "deploying"
	default:
		out.State = "asleep"
	}
	return out
}
