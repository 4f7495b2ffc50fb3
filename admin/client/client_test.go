package client_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func remote(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := client.Remote(server.URL+"/", "abt_secret")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheTokenIsSentAndNeverToARedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("redirect followed") }))
	defer elsewhere.Close()
	var got string
	c := remote(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		http.Redirect(w, r, elsewhere.URL, http.StatusFound)
	})
	err := c.Call(t.Context(), "GET", client.Path("apis"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "no management API") || got != "Bearer abt_secret" {
		t.Fatalf("error %v, authorization %q", err, got)
	}
}

func TestADeployThatBreaksOffIsAnError(t *testing.T) {
	c := remote(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"progress":"building"}` + "\n")) })
	var lines []string
	_, err := c.Deploy(t.Context(), admin.DeployRequest{}, func(l string) { lines = append(lines, l) })
	if err == nil || len(lines) != 1 || lines[0] != "building" {
		t.Fatalf("error %v after %q", err, lines)
	}
}

// Who gives the wrong address is told what is there.
func TestWrongAddresses(t *testing.T) {
	consumers := remote(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"type":"not_found","title":"Not found","status":404,"request_id":"01a224c0-752d-7ff8-8694-a1c36c6859c8"}`))
	})
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	nobody, err := client.Remote(gone.URL, "abt_secret")
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]*client.Client{
		"this is the address for consumers":           consumers,
		"no server answers at " + gone.URL + " (dial": nobody,
	} {
		if err := c.Call(t.Context(), "GET", client.Path("apis", "x"), nil, nil); err == nil || !strings.HasPrefix(err.Error(), want) ||
			!strings.Contains(err.Error(), "--admin-listen") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
