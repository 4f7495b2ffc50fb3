package admin

import (
	"net/http"
	"strings"
	"time"

	"apibuilder/store"
)

// Node is one server of those that share the store. Silent says that it was not heard of for so long that others end what it left
// unfinished.
type Node struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Version       string    `json:"version"`
	Address       string    `json:"address"`
	Keys          []string  `json:"keys,omitempty"` // names of those that it opens secrets with; it encrypts with the first
	StartedAt     time.Time `json:"started_at"`
	SeenAt        time.Time `json:"seen_at"`
	SecondsSilent float64   `json:"seconds_silent"`
	Silent        bool      `json:"silent"`
}

func nodeOut(n store.Node) Node {
	return Node{
		ID: n.ID, Name: n.Name, Version: n.Version, Address: n.Address, Keys: strings.Fields(n.Keys), StartedAt: n.StartedAt, SeenAt: n.SeenAt,
		SecondsSilent: n.Silent.Seconds(), Silent: n.Silent >= store.NodeSilence,
	}
}

func (s *Server) listNodes(w http.ResponseWriter, r *http.Request) (any, error) {
	nodes, err := s.store.Nodes(r.Context())
	if err != nil {
		return nil, err
	}
	return pageOf(w, r, "nodes", nodes, func(n store.Node) []string { return []string{n.Name, n.ID} }, nodeOut)
}
