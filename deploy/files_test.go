package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"apibuilder/bundle"
	"apibuilder/deploy"
	"apibuilder/sandbox"
)

// archive packs files, as a client does.
func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var all []bundle.File
	for path, text := range files {
		all = append(all, bundle.File{Path: path, Content: []byte(text)})
	}
	b, err := bundle.New(all)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Archive()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (f *fixture) withShelf(t *testing.T) *fixture {
	f.SetShelf(bundle.NewShelf(filepath.Join(t.TempDir(), "files")))
	return f
}

var shop = map[string]string{
	"shop/web.py": "app = FastAPI()\n", "shop/data.txt": "42", "requirements.txt": "six",
}

func TestFilesAreLaidOutForTheSandbox(t *testing.T) {
	f := newFixture(t).withShelf(t)
	result := f.mustDeploy(t, deploy.Request{Name: "shop", Archive: archive(t, shop)})
	spec := f.sandboxes.serving[result.API.ID]
	if spec.Entry != "shop.web" || spec.Code != shop["shop/web.py"] || f.builder.last.Requirements != "six" {
		t.Errorf("spec %+v, requirements %q", spec, f.builder.last.Requirements)
	}
	if text, err := os.ReadFile(filepath.Join(spec.Files, "shop/data.txt")); string(text) != "42" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	v, err := f.store.Version(t.Context(), result.API.ID, 1)
	if err != nil || v.Files != 3 || v.FileBytes != int64(len("app = FastAPI()\n42six")) || v.Entry != "shop.web" || v.Bundle == "" {
		t.Errorf("version %+v, %v", v, err)
	}
	if api, err := f.store.API(t.Context(), "shop"); err != nil || api.CodeSnapshot != shop["shop/web.py"] {
		t.Errorf("the API's code is %q, %v", api.CodeSnapshot, err)
	}
}

// TestFilesComeFromTheStore is another node, or this one after its directory was lost: it makes the files from the store, and
// nothing else of them.
func TestFilesComeFromTheStore(t *testing.T) {
	f := newFixture(t).withShelf(t)
	id := f.mustDeploy(t, deploy.Request{Name: "shop", Archive: archive(t, shop)}).API.ID
	first := f.sandboxes.serving[id].Files
	f.withShelf(t)
	spec, err := f.Source(t.Context(), id, 0)
	if err != nil || spec.Files == first || filepath.Base(spec.Files) != filepath.Base(first) {
		t.Fatalf("spec %+v, %v", spec, err)
	}
	if text, err := os.ReadFile(filepath.Join(spec.Files, "shop/data.txt")); string(text) != "42" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	bad := archive(t, map[string]string{"shop/web.py": "evil"})
	other := f.mustDeploy(t, deploy.Request{Name: "other", Code: "x"}).API
	v, err := f.store.Version(t.Context(), id, 1)
	if err != nil {
		t.Fatal(err)
	}
	v.APIID = other.ID
	if err := f.store.PutBundle(t.Context(), other.ID, v.Bundle, bad); err != nil {
		t.Fatal(err)
	}
	if v, err = f.store.AddVersion(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	f.withShelf(t)
	_, err = f.Source(t.Context(), other.ID, v.Number)
	if exit, ok := err.(*sandbox.Exit); !ok || exit.Reason != sandbox.SandboxFailed || !strings.Contains(exit.Detail, "not those that were deployed") {
		t.Errorf("changed files: %v", err)
	}
}

func TestUnchangedFilesAreKeptOnce(t *testing.T) {
	f := newFixture(t).withShelf(t)
	r := deploy.Request{Name: "shop", Archive: archive(t, shop)}
	lock := f.lockAfter(t, r)
	if again := f.lockAfter(t, r); again != lock {
		t.Errorf("the packages changed: %q after %q", again, lock)
	}
	id := f.mustDeploy(t, request("shop", "one")).API.ID
	if spec := f.sandboxes.serving[id]; spec.Files != "" || spec.Entry != "" || spec.Code != "one" {
		t.Errorf("a text after files: %+v", spec)
	}
	if _, err := f.Rollback(t.Context(), "shop", 2); err != nil {
		t.Fatal(err)
	}
	if spec := f.sandboxes.serving[id]; spec.Files == "" || spec.Entry != "shop.web" {
		t.Errorf("back to files: %+v", spec)
	}
	one, _ := f.store.Version(t.Context(), id, 1)
	two, _ := f.store.Version(t.Context(), id, 2)
	if one.Bundle != two.Bundle {
		t.Error("equal files have two names")
	}
}

func TestRequestsOfSeveralFilesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		r    deploy.Request
		says string
	}{
		"both":       {deploy.Request{Code: "x", Archive: archive(t, shop)}, "both a text and an archive"},
		"entry":      {deploy.Request{Code: "x", Entry: "main"}, "the program is one text"},
		"no archive": {deploy.Request{Archive: []byte("x")}, "no zip archive"},
		"no entry":   {deploy.Request{Archive: archive(t, map[string]string{"a.py": "x"})}, "--entry"},
		"empty":      {deploy.Request{Archive: archive(t, map[string]string{"main.py": " "})}, "main.py is empty"},
		"binary":     {deploy.Request{Archive: archive(t, map[string]string{"main.py": "\xff"})}, "not UTF-8"},
		"nothing":    {deploy.Request{}, "the code is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t).withShelf(t)
			c.r.Name = "shop"
			_, err := f.Deploy(t.Context(), c.r)
			if reasonOf(err) != deploy.InvalidRequest || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			if _, err := f.store.API(t.Context(), "shop"); err == nil {
				t.Error("the name is taken")
			}
		})
	}
}

// TestFilesThatFailLeaveNothing deploys files first that do not start.
func TestFilesThatFailLeaveNothing(t *testing.T) {
	f := newFixture(t).withShelf(t)
	f.sandboxes.fail(&sandbox.Exit{Reason: sandbox.ImportError, Detail: "ModuleNotFoundError: No module named 'shop.gone'"})
	_, err := f.Deploy(t.Context(), deploy.Request{Name: "shop", Archive: archive(t, shop)})
	if reasonOf(err) != string(sandbox.ImportError) || strings.Contains(err.Error(), "none of its packages") {
		t.Errorf("error %v", err)
	}
	if _, err := f.store.API(t.Context(), "shop"); err == nil {
		t.Error("the API is there")
	}
	withoutShelf := newFixture(t)
	if _, err := withoutShelf.Deploy(t.Context(), deploy.Request{Name: "shop", Archive: archive(t, shop)}); err == nil {
		t.Error("a server without a place for files took some")
	}
}
