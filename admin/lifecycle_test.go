package admin_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"apibuilder/sandbox"
	"apibuilder/store"
)

func TestSleepAndWake(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	for _, c := range []struct{ order, want string }{
		{"wake", `"running":true`}, {"sleep", `"running":false`}, {"sleep", `"running":false`},
	} {
		w := f.local(t, http.MethodPost, "/api/v1/apis/hello/"+c.order, "")
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.order, w.Code, w.Body)
		}
	}
	f.lives.err = &sandbox.Exit{Reason: sandbox.ImportError, Detail: "line 3"}
	w := f.local(t, http.MethodPost, "/api/v1/apis/hello/wake", "")
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `"type":"import_error"`) || !strings.Contains(w.Body.String(), "line 3") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := f.local(t, http.MethodPost, "/api/v1/apis/nobody/wake", ""); w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRollback(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "hello")
	for range 2 {
		if _, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "x", State: store.VersionReady}); err != nil {
			t.Fatal(err)
		}
	}
	w := f.local(t, http.MethodPost, "/api/v1/apis/hello/rollback", `{"version":1}`)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"active_version":1`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := f.local(t, http.MethodPost, "/api/v1/apis/hello/rollback", `{"version":9}`); w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := f.local(t, http.MethodPost, "/api/v1/apis/hello/rollback", `{"to":1}`); w.Code != http.StatusBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestWhatTheEndOfTheServerCutsIsToldSo: it was a mistake inside the server, whose log had nothing about it.
func TestWhatTheEndOfTheServerCutsIsToldSo(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	for cause, want := range map[error]struct {
		status int
		word   string
	}{
		errors.New("the server is stopping"): {http.StatusServiceUnavailable, "draining"},
		context.Canceled:                     {http.StatusServiceUnavailable, "canceled"},
	} {
		ctx, end := context.WithCancelCause(t.Context())
		f.lives.waking = func(ctx context.Context) error {
			end(cause)
			return ctx.Err()
		}
		w := httptest.NewRecorder()
		f.Local().ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/api/v1/apis/hello/wake", nil))
		wantProblem(t, w, want.status, want.word)
	}
}
