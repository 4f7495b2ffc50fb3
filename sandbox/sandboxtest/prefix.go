package sandboxtest

import (
	"encoding/json"
	"net/http"
	"testing"

	"apibuilder/sandbox"
)

// servesByPrefix calls one program by several prefixes at once, as the gateway does: X-Forwarded-Prefix says by which.
func servesByPrefix(t *testing.T, b *bench) {
	i := b.launch(t, `
@app.get("/where")
def where(request: Request):
    return {
        "root_path": request.scope["root_path"], "path": request.url.path, "url": str(request.url_for("where")),
        "field": request.headers.get("x-forwarded-prefix", "none"),
    }
`)
	for prefix, want := range map[string]map[string]string{
		"/":      {"root_path": "", "path": "/where", "url": "http://sandbox/where", "field": "none"},
		"/run/a": {"root_path": "/run/a", "path": "/run/a/where", "url": "http://sandbox/run/a/where", "field": "/run/a"},
		"/run/b": {"root_path": "/run/b", "path": "/run/b/where", "url": "http://sandbox/run/b/where", "field": "/run/b"},
	} {
		var got map[string]string
		getBy(t, i, prefix, "/where", &got)
		for key, value := range want {
			if got[key] != value {
				t.Errorf("by %s: %s is %q, want %q", prefix, key, got[key], value)
			}
		}
		var document struct {
			Servers []struct{ URL string }
		}
		getBy(t, i, prefix, "/openapi.json", &document)
		if prefix == "/" && len(document.Servers) != 0 || prefix != "/" && (len(document.Servers) != 1 || document.Servers[0].URL != prefix) {
			t.Errorf("by %s: the document names the servers %v", prefix, document.Servers)
		}
	}
}

func getBy(t *testing.T, i *sandbox.Instance, prefix, path string, v any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandbox"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-Prefix", prefix)
	res, err := i.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(v); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s by %s: status %d, %v", path, prefix, res.StatusCode, err)
	}
}
