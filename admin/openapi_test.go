package admin_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"apibuilder/admin"
)

const documentURL = "http://host/openapi.json"

// contract is the document as the server tells it.
type contract struct {
	paths    map[string]map[string]any
	compiler *jsonschema.Compiler
}

var published = sync.OnceValues(func() (*contract, error) {
	s := admin.New(nil, nil, nil, nil, admin.Config{})
	w := httptest.NewRecorder()
	s.Local().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/openapi.json", nil))
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &parsed); err != nil {
		return nil, err
	}
	c := &contract{parsed.Paths, jsonschema.NewCompiler()}
	return c, c.compiler.AddResource(documentURL, document)
})

// find returns the path of the document that a request's path is an instance of.
func (c *contract) find(path string) string {
	asked := strings.Split(path, "/")
	for template := range c.paths {
		parts := strings.Split(template, "/")
		same := len(parts) == len(asked)
		for i := 0; same && i < len(parts); i++ {
			same = parts[i] == asked[i] || strings.HasPrefix(parts[i], "{")
		}
		if same {
			return template
		}
	}
	return ""
}

// keepsTo checks an answer against the document. Every test of this package that calls the server does.
func keepsTo(t *testing.T, method, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	c, err := published()
	if err != nil {
		t.Fatal(err)
	}
	path, _, _ = strings.Cut(path, "?")
	pointer := "#/components/schemas/Problem"
	if w.Code == http.StatusOK {
		template := c.find(path)
		if template == "" {
			return // metrics
		}
		media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		pointer = "#/paths/" + escape(template) + "/" + strings.ToLower(method) + "/responses/200/content/" + escape(media) + "/schema"
	}
	schema, err := c.compiler.Compile(documentURL + pointer)
	if err != nil {
		t.Errorf("%s %s: the document has no %s: %v", method, path, pointer, err)
		return
	}
	for d := json.NewDecoder(bytes.NewReader(w.Body.Bytes())); ; {
		var raw json.RawMessage
		if err := d.Decode(&raw); err == io.EOF {
			return
		} else if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
			return
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%s %s answers what the document does not know: %v\n%s", method, path, err, raw)
		}
	}
}

func escape(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(s)
}

func TestTheDocumentIsForEveryRole(t *testing.T) {
	f := newTwo(t)
	for _, ask := range []func(string, string, string) *httptest.ResponseRecorder{f.anna, f.reader, f.annasReader} {
		if w := ask("GET", "/api/v1/openapi.json", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"openapi":"3.1.0"`) {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
	wantProblem(t, call(t, f.Remote(), "GET", "/api/v1/openapi.json", ""), http.StatusUnauthorized, "unauthorized")
}
