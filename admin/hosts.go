package admin

import (
	"context"
	"fmt"

	"apibuilder/deploy"
	"apibuilder/store"
)

// checkHost refuses a host that the operator has not listed, or for another user: an author must not take a name that is somebody else's.
func (s *Server) checkHost(ctx context.Context, texts map[string]string) error {
	text := texts["host"]
	if text == "" {
		return nil
	}
	o, err := deploy.ApplyOptions(store.Options{}, map[string]string{"host": text})
	if err != nil {
		return err
	}
	var by store.User
	if c := callerOf(ctx); !c.seesAll() {
		if by, err = s.store.User(ctx, c.userID); err != nil {
			return err
		}
	}
	if s.cfg.MayMap == nil || !s.cfg.MayMap(o.Host, by) {
		return &deploy.Error{
			Reason: deploy.InvalidRequest, Message: fmt.Sprintf("option host: the server's operator has not listed %q, or for somebody else", o.Host),
			Remedy: "start the server with --mapped-hosts naming it, once it is known to belong to the API's owner",
		}
	}
	return nil
}
