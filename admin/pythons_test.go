package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"apibuilder/admin"
	"apibuilder/deploy"
)

func TestPythons(t *testing.T) {
	f := newFixture(t)
	if body := f.local(t, "GET", "/api/v1/pythons", "").Body.String(); body != `{"items":[]}`+"\n" {
		t.Errorf("none: %s", body)
	}
	f.pythons.all = []admin.Python{{Version: "3.11.2", Path: "/usr/bin/python3.11", Default: true}}
	if all := decode[[]admin.Python](t, f.local(t, "GET", "/api/v1/pythons", "")); len(all) != 1 || !all[0].Default {
		t.Errorf("%+v", all)
	}
	for body, want := range map[string]string{
		`{"path":"/opt/py/bin/python3"}`: `{"python":{"version":"3.10.1","path":"/opt/py/bin/python3"}}`,
		`{"version":"3.10"}`:             `{"progress":"fetching"}` + "\n" + `{"python":{"version":"3.10","path":""}}`,
	} {
		if got := f.local(t, "POST", "/api/v1/pythons", body).Body.String(); got != want+"\n" {
			t.Errorf("%s: %s", body, got)
		}
	}
	for _, body := range []string{`{}`, `{"path":"/x","version":"3.10"}`} {
		wantProblem(t, f.local(t, "POST", "/api/v1/pythons", body), http.StatusBadRequest, "bad_request")
	}
	if p := decode[admin.Python](t, f.local(t, "DELETE", "/api/v1/pythons/%2Fopt%2Fpy", "")); p.Path != "/opt/py" {
		t.Errorf("%+v", p)
	}
	f.pythons.err = &deploy.Error{Reason: "no_interpreter", Message: "no such Python"}
	if body := f.local(t, "POST", "/api/v1/pythons", `{"path":"/x"}`).Body.String(); !strings.Contains(body, `"error":{"type":"no_interpreter"`) {
		t.Error(body)
	}
	wantProblem(t, f.local(t, "DELETE", "/api/v1/pythons/3.10", ""), http.StatusUnprocessableEntity, "no_interpreter")
}
