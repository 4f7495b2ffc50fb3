package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"apibuilder/store"
)

// Secrets is what encrypts secrets in the store.
type Secrets interface {
	// Rotate encrypts all of them anew, for a new key or for the first one in the key file; dropOld removes the others from it. A new key
	// is the prepared one, where there is one.
	Rotate(ctx context.Context, newKey, dropOld bool) (SecretsRotated, error)
	// Prepare puts a new key into the key file that opens and does not encrypt yet. One that was prepared before stays.
	Prepare() error
	// Keys returns which node this is, names of its keys, the one that encrypts first, which of them was prepared, and where the file is.
	Keys() (node string, all []string, prepared, file string)
}

// SecretsRotation is the body of POST /api/v1/secrets/rotate.
type SecretsRotation struct {
	Prepare bool `json:"prepare,omitempty"` // only make the new key, so that other nodes can be given it
	SameKey bool `json:"same_key,omitempty"`
	DropOld bool `json:"drop_old,omitempty"`
}

// SecretsRotated is the answer to it.
type SecretsRotated struct {
	Environments int      `json:"environments"` // that were encrypted anew
	KeyFile      string   `json:"key_file"`
	CopyTo       []string `json:"copy_to,omitempty"` // nodes that need a copy of the key file
}

func (s *Server) rotateSecrets(w http.ResponseWriter, r *http.Request) (any, error) {
	var body SecretsRotation
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if body.Prepare && (body.SameKey || body.DropOld) {
		return nil, badRequest("prepare is given with same_key or drop_old", "prepare a key by itself")
	}
	others, err := s.otherNodes(r.Context())
	if err != nil {
		return nil, err
	}
	var result SecretsRotated
	if body.Prepare {
		err = s.cfg.Secrets.Prepare()
		_, _, _, result.KeyFile = s.cfg.Secrets.Keys()
	} else if err = s.mayRotate(body, others); err == nil {
		result, err = s.cfg.Secrets.Rotate(r.Context(), !body.SameKey, body.DropOld)
	}
	_, now, prepared, _ := s.cfg.Secrets.Keys()
	for _, n := range others {
		theirs := strings.Fields(n.Keys)
		if prepared != "" && !slices.Contains(theirs, prepared) || len(now) > 0 && !slices.Equal(theirs[:min(len(theirs), 1)], now[:1]) {
			result.CopyTo = append(result.CopyTo, n.Name)
		}
	}
	return result, err
}

// otherNodes are those that live beside this one.
func (s *Server) otherNodes(ctx context.Context) ([]store.Node, error) {
	own, _, _, _ := s.cfg.Secrets.Keys()
	all, err := s.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(n store.Node) bool { return n.ID == own || n.Silent >= store.NodeSilence }), nil
}

// mayRotate refuses what would leave another node with secrets that it cannot open.
func (s *Server) mayRotate(body SecretsRotation, others []store.Node) error {
	_, keys, key, file := s.cfg.Secrets.Keys()
	if body.SameKey && len(keys) > 0 {
		key = keys[0]
	}
	for _, n := range others {
		theirs := strings.Fields(n.Keys)
		switch {
		case key == "":
			return badRequest(fmt.Sprintf("the node %s could not open what is encrypted for a new key", n.Name),
				fmt.Sprintf("make one with `apibuilder secrets rotate --prepare`, copy %s to all nodes, and rotate then", file))
		case !slices.Contains(theirs, key):
			return badRequest(fmt.Sprintf("the node %s does not have the key that is to be used", n.Name),
				fmt.Sprintf("copy %s to it; it notices within seconds. A node that is gone for good counts no more three minutes after its last word", file))
		case body.DropOld && theirs[0] != key:
			return badRequest(fmt.Sprintf("the node %s still encrypts for another key", n.Name),
				fmt.Sprintf("rotate without --drop-old, copy %s to all nodes, and drop the old keys after that with --same-key --drop-old", file))
		}
	}
	return nil
}
