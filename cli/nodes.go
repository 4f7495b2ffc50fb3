package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/deploy"
	"apibuilder/node"
	"apibuilder/sandbox"
	"apibuilder/store"
)

func (a *app) nodesCommand() *cli.Command {
	return &cli.Command{
		Name:  "nodes",
		Usage: "look at the servers that share a store",
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "list nodes, and how long ago each was heard of", Action: a.listNodes,
				Description: "A node says every five seconds that it lives. One that stops in order is taken off the list, one that\n" +
					"died is silent, and forgotten after a week.",
				Flags: listFlags(),
			},
		},
	}
}

func (a *app) listNodes(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var nodes []admin.Node
	if err := a.list(ctx, cmd, client.Path("nodes"), &nodes); err != nil {
		return err
	}
	return a.show(cmd, nodes, func(w io.Writer) {
		row(w, "NAME", "ID", "VERSION", "ADDRESS", "STARTED", "SEEN", "STATE")
		for _, n := range nodes {
			state := "lives"
			if n.Silent {
				state = "silent"
			}
			row(w, n.Name, n.ID, n.Version, n.Address, timeText(n.StartedAt), fmt.Sprintf("%.0f s ago", n.SecondsSilent), state)
		}
	})
}

// openNode makes this server known to the others before it does anything that they could see.
func (s *server) openNode(ctx context.Context) error {
	id, err := node.Identity(s.data.join("node"))
	if err != nil {
		return err
	}
	s.node = store.Node{ID: id, Name: s.options.nodeName, Version: version().Version, Address: s.listener.Addr().String()}
	if err := s.warnOfCopy(ctx); err != nil {
		return err
	}
	s.beat = node.NewHeartbeat(s.node, s.keyNames, s.store, s.log.Named("node"))
	if err := s.beat.Start(ctx); err != nil {
		return err
	}
	s.onStop("heartbeat", func(ctx context.Context) error {
		if s.hasSuccessor() || s.hasPredecessor() { // which goes on as the same node
			s.beat.Halt()
		}
		return s.beat.Stop(ctx)
	})
	return s.warnOfOtherKeys(ctx)
}

// warnOfCopy tells of a server that said lately that it is this node, under another name, as on a machine that is a copy of this one. Both would
// be taken for one: their heartbeats, and what they deploy.
func (s *server) warnOfCopy(ctx context.Context) error {
	nodes, err := s.store.Nodes(ctx)
	if err != nil || s.hasPredecessor() {
		return err
	}
	if n, ok := copyOf(s.node, nodes); ok {
		s.log.Warn("another server has the id of this node; if it runs, one of them is on a copy of the other's data directory: "+
			"stop it, and remove the file node and the directory usage from the copy", zap.String("node", n.Name), zap.String("address", n.Address),
			zap.String("file", s.data.join("node")))
	}
	return nil
}

// copyOf is the node that has the id of own and another name, and lives as far as is known.
func copyOf(own store.Node, all []store.Node) (store.Node, bool) {
	i := slices.IndexFunc(all, func(n store.Node) bool {
		return n.ID == own.ID && n.Name != own.Name && n.Silent < store.NodeSilence
	})
	if i < 0 {
		return store.Node{}, false
	}
	return all[i], true
}

// warnOfOtherKeys tells of nodes with another key file, as two have that began on an empty database without being given the same: what one
// of them encrypts the other cannot open, and nobody would notice before a program is to start there.
func (s *server) warnOfOtherKeys(ctx context.Context) error {
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range withOtherKeys(s.node.ID, s.keyNames(), nodes) {
		s.log.Warn("another node encrypts environment variables for a key that this one does not have, or the other way round: "+
			"add the lines of both key files to both", zap.String("node", n.Name), zap.String("key_file", s.secretsPath()))
	}
	return nil
}

// withOtherKeys are the nodes that live and cannot open what the node with this id encrypts, or encrypt what it cannot open.
func withOtherKeys(id string, keys []string, all []store.Node) (others []store.Node) {
	for _, n := range all {
		theirs := strings.Fields(n.Keys)
		if n.ID == id || n.Silent >= store.NodeSilence || len(theirs) == 0 || len(keys) == 0 {
			continue
		}
		if !slices.Contains(theirs, keys[0]) || !slices.Contains(keys, theirs[0]) {
			others = append(others, n)
		}
	}
	return others
}

// openFollower has what the manager could not follow at once tried again.
func (s *server) openFollower(ctx context.Context) error {
	follower := deploy.NewFollower(s.deployer, deploy.Own{
		Serving: s.serving, Look: s.manager.Changed, End: s.manager.Remove,
		Forget: func(_ context.Context, apiID string) error { return s.forget(apiID) },
	}, s.log.Named("follow"))
	if err := follower.Start(ctx); err != nil {
		return err
	}
	s.onStop("follower of other nodes", follower.Stop)
	return nil
}

// serving lists the versions of an API of which something serves here.
func (s *server) serving(apiID string) (versions []int) {
	for _, i := range s.manager.Instances(apiID) {
		if i.State == sandbox.Serving {
			versions = append(versions, i.Version)
		}
	}
	return versions
}
