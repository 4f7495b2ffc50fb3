package admin

import (
	"context"
	"net/http"
)

// Secrets is what encrypts secrets in the store.
type Secrets interface {
	// Rotate encrypts all of them anew, for a new key or for the first one in the key file; dropOld removes the others from it.
	Rotate(ctx context.Context, newKey, dropOld bool) (SecretsRotated, error)
}

// SecretsRotation is the body of POST /api/v1/secrets/rotate.
type SecretsRotation struct {
	SameKey bool `json:"same_key,omitempty"`
	DropOld bool `json:"drop_old,omitempty"`
}

// SecretsRotated is the answer to it.
type SecretsRotated struct {
	Environments int    `json:"environments"` // that were encrypted anew
	KeyFile      string `json:"key_file"`
}

func (s *Server) rotateSecrets(w http.ResponseWriter, r *http.Request) (any, error) {
	var body SecretsRotation
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	return s.cfg.Secrets.Rotate(r.Context(), !body.SameKey, body.DropOld)
}
