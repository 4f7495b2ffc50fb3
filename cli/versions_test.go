package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"apibuilder/admin"
)

// TestVersionsListsAll is of an API that has more than it is shown with.
func TestVersionsListsAll(t *testing.T) {
	api := admin.API{ID: "api_1", Name: "hello", ActiveVersion: 150}
	var all []admin.Version
	for n := 150; n > 0; n-- {
		all = append(all, admin.Version{Number: n})
	}
	api.Versions = append(api.Versions, all[:admin.ShownVersions]...)
	api.Versions[0].EnvNames = []string{"TOKEN"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := any(api)
		switch {
		case strings.HasSuffix(r.URL.Path, "/versions") && r.URL.Query().Get("cursor") == "":
			answer = admin.Page[admin.Version]{Items: all[:120], Next: "x"}
		case strings.HasSuffix(r.URL.Path, "/versions"):
			answer = admin.Page[admin.Version]{Items: all[120:]}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer server.Close()
	t.Setenv("APIBUILDER_TOKEN", "abt_any")
	var out, problems bytes.Buffer
	code := Run(t.Context(), []string{"apibuilder", "versions", "hello", "--json", "--server", server.URL}, strings.NewReader(""), &out, &problems)
	var got []admin.Version
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != exitOK || len(got) != 150 || got[149].Number != 1 || len(got[0].EnvNames) != 1 {
		t.Errorf("%d, %d versions, %v\n%s", code, len(got), err, &problems)
	}
}
