package admin

import "net/http"

// VersionSource is the answer of GET /api/v1/apis/{api}/versions/{version}/source, where version is a number or "active": what a
// version was deployed from. Of several files Archive has all, and Code is absent.
type VersionSource struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Version      int    `json:"version"`
	Code         string `json:"code,omitempty"`
	Archive      []byte `json:"archive,omitempty"` // zip, in base64
	Entry        string `json:"entry,omitempty"`   // of an archive: the module that it begins with
	Files        int    `json:"files,omitempty"`
	FileBytes    int64  `json:"file_bytes,omitempty"`
	Requirements string `json:"requirements,omitempty"`
	Python       string `json:"python,omitempty"` // as in the deploy
}

func (s *Server) showSource(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, v, err := s.versionIn(r)
	if err != nil {
		return nil, err
	}
	out := VersionSource{
		ID: api.ID, Name: api.Name, Version: v.Number, Requirements: v.Requirements, Python: v.Python,
		Entry: v.Entry, Files: v.Files, FileBytes: v.FileBytes,
	}
	if v.Bundle == "" {
		out.Code = v.Code
		return out, nil
	}
	// Read, and written in base64; the archive is no larger than its files, but for their names.
	if err := callerOf(r.Context()).visit.hold(r.Context(), 2*v.FileBytes); err != nil {
		return nil, err
	}
	out.Archive, err = s.store.Bundle(r.Context(), api.ID, v.Bundle)
	return out, err
}
