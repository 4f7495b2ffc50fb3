package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"apibuilder/admin"
	"apibuilder/store"
)

// TestWhatIsReadOfAPIsHasNoCode: an answer about many APIs would read the programs of all.
func TestWhatIsReadOfAPIsHasNoCode(t *testing.T) {
	f := newTwo(t)
	s := f.with(codeless{f.store, t}, nil)
	secret := f.secretOf(t, `{"role":"author","user":"anna"}`)
	for _, path := range []string{"apis", "server", "top", "quotas"} {
		if w := call(t, s.Local(), "GET", "/api/v1/"+path, ""); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		if w := call(t, s.Remote(), "GET", "/api/v1/"+path, "", "Authorization", "Bearer "+secret); path != "quotas" && w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

type codeless struct {
	store.Store
	t *testing.T
}

func (c codeless) APIs(context.Context) ([]store.API, error) {
	c.t.Error("the code of all APIs is read")
	return nil, errors.New("no")
}

// countingStore counts sums.
type countingStore struct {
	store.Store
	sums int
}

func (c *countingStore) SumUsage(ctx context.Context, f store.SumFilter) ([]store.Sum, error) {
	c.sums++
	return c.Store.SumUsage(ctx, f)
}

// TestQuotasAreSummedForOnePage has more quotas than a page shows.
func TestQuotasAreSummedForOnePage(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	for i := range 7 {
		f.local(t, "POST", "/api/v1/apis/hello/keys", fmt.Sprintf(`{"name":"k%d","quota":5}`, i))
	}
	counting := &countingStore{Store: f.store}
	got := decode[admin.Page[admin.QuotaUse]](t, call(t, f.with(counting, nil).Local(), "GET", "/api/v1/quotas?limit=2", ""))
	if len(got.Items) != 2 || got.Next == "" || counting.sums != 2 {
		t.Errorf("%d items, next %q, %d sums", len(got.Items), got.Next, counting.sums)
	}
}

// TestAnAuthorMayNameHimself, by either of his names, and nobody else.
func TestAnAuthorMayNameHimself(t *testing.T) {
	f := newTwo(t)
	anna, _ := f.store.User(t.Context(), "anna")
	for _, name := range []string{"", "anna", anna.ID} {
		if apis := decode[[]admin.API](t, f.anna("GET", "/api/v1/apis?user="+name, "")); len(apis) != 1 || apis[0].Name != "of-anna" {
			t.Errorf("as %q: %+v", name, apis)
		}
	}
	for _, name := range []string{"bert", "nobody"} {
		wantProblem(t, f.anna("GET", "/api/v1/apis?user="+name, ""), http.StatusBadRequest, "bad_request")
	}
}

// keyReader counts the keys that are read.
type keyReader struct {
	store.Store
	keys int
}

func (k *keyReader) FindKeys(ctx context.Context, f store.KeyFilter) ([]store.Key, error) {
	found, err := k.Store.FindKeys(ctx, f)
	k.keys += len(found)
	return found, err
}

// TestOneKeyIsReadAlone finds one among many by its id, prefix and name.
func TestOneKeyIsReadAlone(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	var last admin.Key
	for i := range 20 {
		last = decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/hello/keys", fmt.Sprintf(`{"name":"k%d"}`, i)))
	}
	for _, word := range []string{last.ID, last.Prefix, "k1"} {
		reader := &keyReader{Store: f.store}
		key := decode[admin.Key](t, call(t, f.with(reader, nil).Local(), "GET", "/api/v1/apis/hello/keys/"+word, ""))
		if key.ID != word && key.Prefix != word && key.Name != word || reader.keys != 1 {
			t.Errorf("%s: %+v, of %d keys", word, key, reader.keys)
		}
	}
}
