package admin

import (
	"fmt"

	"apibuilder/deploy"
	"apibuilder/store"
)

// checkHost refuses a host that the operator has not listed: an author must not take a name that is somebody else's.
func (s *Server) checkHost(texts map[string]string) error {
	text := texts["host"]
	if text == "" {
		return nil
	}
	o, err := deploy.ApplyOptions(store.Options{}, map[string]string{"host": text})
	if err != nil {
		return err
	}
	if s.cfg.MayMap == nil || !s.cfg.MayMap(o.Host) {
		return &deploy.Error{
			Reason: deploy.InvalidRequest, Message: fmt.Sprintf("option host: the server's operator has not listed %q", o.Host),
			Remedy: "start the server with --mapped-hosts naming it, once it is known to belong to the API's owner",
		}
	}
	return nil
}
