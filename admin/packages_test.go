package admin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/python-env"
	"apibuilder/store"
)

func TestEnvironmentOfAVersion(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	v := store.Version{APIID: api.ID, Requirements: "six", Python: "3.11", Environment: "key", Lock: "six==1.16.0"}
	if _, err := f.store.AddVersion(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	f.deployer.pack = deploy.Packages{Python: "3.11.2", Locked: []deploy.Package{{Name: "six", Version: "1.16.0"}}}
	for _, version := range []string{"1", "active"} {
		got := decode[admin.VersionEnvironment](t, f.local(t, "GET", "/api/v1/apis/resize/versions/"+version+"/environment", ""))
		if got.Version != 1 || got.Name != "resize" || got.Built || got.Lock != "six==1.16.0" || got.Python != "3.11.2" ||
			len(got.Packages) != 1 || got.Packages[0] != (admin.Package{Name: "six", Version: "1.16.0"}) {
			t.Errorf("%s: %+v", version, got)
		}
	}
	f.deployer.pack.Environment = &pythonenv.Environment{
		Bytes: 5, Files: 2, Created: time.Now(), Interpreter: pythonenv.Interpreter{Path: "/usr/bin/python3.11"},
	}
	got := decode[admin.VersionEnvironment](t, f.local(t, "GET", "/api/v1/apis/resize/versions/1/environment", ""))
	if !got.Built || got.Bytes != 5 || got.Files != 2 || got.BuiltAt == nil || got.Interpreter != "/usr/bin/python3.11" {
		t.Errorf("%+v", got)
	}
	wantProblem(t, f.local(t, "GET", "/api/v1/apis/resize/versions/2/environment", ""), http.StatusNotFound, "not_found")
	wantProblem(t, f.local(t, "GET", "/api/v1/apis/none/versions/1/environment", ""), http.StatusNotFound, "not_found")
	wantProblem(t, f.local(t, "GET", "/api/v1/apis/resize/versions/-1/environment", ""), http.StatusBadRequest, "bad_request")
}

func TestLockStreamsWhatHappens(t *testing.T) {
	f := newFixture(t)
	f.deployer.lock = "six==1.16.0"
	body := f.local(t, "POST", "/api/v1/locks", `{"requirements":"six","python":"3.11"}`).Body.String()
	if body != `{"progress":"resolving"}`+"\n"+`{"lock":"six==1.16.0"}`+"\n" || f.deployer.request.Requirements != "six" {
		t.Errorf("answer %s to %+v", body, f.deployer.request)
	}
	f.deployer.lockErr = &deploy.Error{Reason: "not_found", Message: "the index has no package sixx"}
	if body := f.local(t, "POST", "/api/v1/locks", `{}`).Body.String(); !strings.Contains(body, `"error":{"type":"not_found"`) {
		t.Error(body)
	}
}
