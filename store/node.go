package store

import (
	"errors"
	"time"
)

// Node is one `apibuilder serve` that uses the store. Times are by the store's clock, so that nodes whose clocks differ
// agree on who is silent.
type Node struct {
	ID        string // "node_" and 16 characters, kept in the node's data directory
	Name      string // for people; not unique
	Version   string // of the program
	Address   string // where it listens for consumers
	Keys      string // names of the keys that it can open secrets with, apart by spaces; it seals with the first. Empty: it does not say
	StartedAt time.Time
	SeenAt    time.Time
	Silent    time.Duration // since SeenAt when the list was read
}

// NodeSilence is how long a node may say nothing until it counts as gone: other nodes then end what it left unfinished.
const NodeSilence = 3 * time.Minute

// NodeMemory is how long a node that went without a word is listed.
const NodeMemory = 7 * 24 * time.Hour

// Valid returns nil, or an ErrInvalid that names the field.
func (n Node) Valid() error {
	return errors.Join(required("node id", n.ID), required("node name", n.Name), checkText("node version", n.Version),
		checkText("node address", n.Address), checkText("node keys", n.Keys))
}
