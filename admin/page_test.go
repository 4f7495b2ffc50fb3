package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/store"
)

// TestEveryListComesInPages looks for lists among the answers of the document: a new one has pages, or is refused here.
func TestEveryListComesInPages(t *testing.T) {
	c, err := published()
	if err != nil {
		t.Fatal(err)
	}
	pages := 0
	for path, item := range c.paths {
		operation, ok := item["get"].(map[string]any)
		if !ok {
			continue
		}
		text, err := json.Marshal(operation)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `"type":"array"`) {
			t.Errorf("GET %s answers with a bare list", path)
		}
		if strings.Contains(string(text), `Page"`) {
			pages++
			for _, name := range []string{`"name":"limit"`, `"name":"cursor"`} {
				if !strings.Contains(string(text), name) {
					t.Errorf("GET %s has no parameter %s", path, name)
				}
			}
		}
	}
	if pages < 10 {
		t.Errorf("only %d lists were found", pages)
	}
}

// follow reads a list to its end, a few at a time, by cursor and by Link.
func follow(t *testing.T, ask func(path string) *httptest.ResponseRecorder, path, query, items string, between func()) (ids []string) {
	t.Helper()
	next := ""
	for range 1000 {
		q := url.Values{"limit": {"2"}}
		if next != "" {
			q.Set("cursor", next)
		}
		w := ask(path + "?" + q.Encode() + query)
		answer := decode[map[string]any](t, w)
		list := answer[items].([]any)
		if len(list) > 2 {
			t.Fatalf("%s: %d items in a page of two", path, len(list))
		}
		for _, one := range list {
			item := one.(map[string]any)
			for _, name := range []string{"id", "request_id", "path", "name", "start", "route", "destination"} {
				if id, ok := item[name].(string); ok {
					ids = append(ids, id)
					break
				}
			}
		}
		next, _ = answer["next"].(string)
		link := w.Header().Get("Link")
		if next == "" {
			if link != "" {
				t.Errorf("%s: the last page links to %s", path, link)
			}
			return ids
		}
		if !strings.Contains(link, "cursor="+next) || !strings.HasSuffix(link, `; rel="next"`) {
			t.Errorf("%s: Link is %q", path, link)
		}
		if between != nil {
			between()
		}
	}
	t.Fatalf("%s: the list has no end", path)
	return nil
}

// TestListsAreWholeAndStable reads every list in pages of two, while something is added, and compares it with the list in one.
func TestListsAreWholeAndStable(t *testing.T) {
	f := newFixture(t)
	var records []store.Usage
	var reached []store.EgressUse
	first := f.api(t, "api-first")
	for i := range 7 {
		api := f.api(t, fmt.Sprintf("api-%d", i*10))
		for path, body := range map[string]string{
			"users": `{"name":"user-%d"}`, "tokens": `{"name":"t%d"}`, "apis/" + api.ID + "/keys": `{"name":"k%d","quota":5}`,
			"apis/api-0/keys": `{"name":"more%d"}`, "users/operator/keys": `{"name":"u%d"}`,
		} {
			decode[map[string]any](t, f.local(t, "POST", "/api/v1/"+path, fmt.Sprintf(body, i)))
		}
		decode[admin.Plan](t, f.local(t, "PUT", fmt.Sprintf("/api/v1/plans/plan-%d", i), `{}`))
		f.pythons.all = append(f.pythons.all, admin.Python{Path: fmt.Sprintf("/python%d", 9-i)})
		records = append(records, store.Usage{
			ID: fmt.Sprintf("req_%d", i), APIID: api.ID, Version: 1, Time: time.Now().Add(-time.Duration(i/2) * time.Hour), Method: "GET", Path: "/", Status: 200,
		}, store.Usage{
			ID: fmt.Sprintf("routed_%d", i), APIID: first.ID, Version: 1, Time: time.Now(), Method: "GET", Path: "/", Route: fmt.Sprintf("/r%d", i), Status: 200,
		})
		reached = append(reached, store.EgressUse{APIID: first.ID, To: fmt.Sprintf("host-%d:443", i), Connections: 1})
		if err := f.store.BeatNode(t.Context(), store.Node{ID: fmt.Sprintf("node_%d", i), Name: "same", StartedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.store.AddUsage(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if err := f.store.AddEgress(t.Context(), store.EgressBatch{Source: "s", Number: 1, Time: time.Now(), Uses: reached}); err != nil {
		t.Fatal(err)
	}
	added := 0
	between := func() { // before what was read, or after all of it
		added++
		f.api(t, fmt.Sprintf("a-%d", added))
		decode[admin.User](t, f.local(t, "POST", "/api/v1/users", fmt.Sprintf(`{"name":"a-%d"}`, added)))
		decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/api-0/keys", `{}`))
	}
	ask := func(path string) *httptest.ResponseRecorder { return f.local(t, "GET", path, "") }
	for _, c := range []struct{ path, query, items string }{
		{"apis", "", "items"},
		{"users", "", "items"},
		{"tokens", "", "items"},
		{"keys", "", "items"},
		{"apis/api-0/keys", "", "items"},
		{"users/operator/keys", "", "items"},
		{"plans", "", "items"},
		{"pythons", "", "items"},
		{"nodes", "", "items"},
		{"quotas", "", "items"},
		{"audit", "", "items"},
		{"usage", "", "records"},
		{"usage/sums", "&by=hour", "sums"},
		{"usage/sums", "&by=route&api=api-first", "sums"},
		{"usage/egress", "&by=destination", "sums"},
	} {
		path := "/api/v1/" + c.path
		whole := decode[map[string]any](t, ask(path+"?limit=1000"+c.query))[c.items].([]any)
		parts := follow(t, ask, path, c.query, c.items, between)
		seen := slices.Clone(parts)
		slices.Sort(seen)
		if len(slices.Compact(seen)) != len(parts) {
			t.Errorf("%s: something comes twice: %v", c.path, parts)
		}
		if len(whole) < 4 || len(parts) < len(whole) {
			t.Errorf("%s: %d items in pages, %d at once", c.path, len(parts), len(whole))
		}
	}
}

func TestCursorsAreChecked(t *testing.T) {
	f := newFixture(t)
	for i := range 3 {
		f.api(t, fmt.Sprintf("a%d", i))
		decode[admin.User](t, f.local(t, "POST", "/api/v1/users", fmt.Sprintf(`{"name":"u%d"}`, i)))
	}
	foreign := decode[admin.Page[admin.User]](t, f.local(t, "GET", "/api/v1/users?limit=1", "")).Next
	for _, cursor := range []string{"x", "e30", "bnVsbA", foreign, strings.Repeat("A", 5000), "%00", "eyJsIjoiYXBpcyIsImEiOltdfQ"} {
		wantProblem(t, f.local(t, "GET", "/api/v1/apis?cursor="+cursor, ""), http.StatusBadRequest, "bad_request")
	}
	for _, limit := range []string{"-1", "1001", "x", "9999999999999999999999"} {
		wantProblem(t, f.local(t, "GET", "/api/v1/apis?limit="+limit, ""), http.StatusBadRequest, "bad_request")
	}
}

func TestFilters(t *testing.T) {
	f := newTwo(t)
	version, err := f.store.AddVersion(t.Context(), store.Version{APIID: f.api(t, "live").ID, Code: "x", State: store.VersionReady})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.store.Activate(t.Context(), version.APIID, 1); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"apis": 3, "apis?name=of-": 2, "apis?user=anna": 1, "apis?state=serving": 1, "apis?state=deploying&name=bert": 1, "apis?public=true": 0,
		"users?name=ann": 1, "users?plan=default": 3, "users?plan=none": 0, "tokens": 4, "tokens?role=author": 2, "tokens?user=anna": 2,
		"tokens?state=ended": 0, "tokens?state=valid&role=reader": 2, "plans?name=x": 0, "audit?user=anna": 0,
	} {
		if got := decode[[]map[string]any](t, f.local(t, "GET", "/api/v1/"+query, "")); len(got) != want {
			t.Errorf("%s: %d, want %d", query, len(got), want)
		}
	}
	wantProblem(t, f.local(t, "GET", "/api/v1/apis?user=nobody", ""), http.StatusNotFound, "not_found")
	wantProblem(t, f.local(t, "GET", "/api/v1/apis?state=gone", ""), http.StatusBadRequest, "bad_request")
	for _, user := range []string{"bert", "nobody", "operator"} {
		wantProblem(t, f.anna("GET", "/api/v1/apis?user="+user, ""), http.StatusBadRequest, "bad_request")
	}
}

// TestTheClientFollowsPages lists more than a page has.
func TestTheClientFollowsPages(t *testing.T) {
	f := newFixture(t)
	const many = 2300
	for i := range many {
		f.api(t, fmt.Sprintf("api-%d", i))
	}
	c, err := client.Remote(serve(t, f.Local()), "abt_any")
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"": many, "?limit=0": many, "?limit=3": 3, "?limit=1500": 1500, "?name=api-1&limit=2000": 1111} {
		var apis []admin.API
		if err := c.Call(t.Context(), "GET", client.Path("apis")+query, nil, &apis); err != nil || len(apis) != want {
			t.Errorf("apis%s: %d, %v", query, len(apis), err)
		}
	}
	var apis []admin.API
	if err := c.Call(t.Context(), "GET", client.Path("apis")+"?limit=-1", nil, &apis); err == nil {
		t.Error("a negative limit is good")
	}
}

// TestLongRoutesComeInPages has routes as long as a program may make them, with what takes the most room in a cursor.
func TestLongRoutesComeInPages(t *testing.T) {
	f := newFixture(t)
	long := "/" + strings.Repeat("\u00e9<\x01&", 400)
	var records []store.Usage
	want := []string{}
	for i := range 7 {
		route := fmt.Sprintf("%s%d", long, i)
		want = append(want, route)
		records = append(records, store.Usage{ID: fmt.Sprint(i), APIID: strings.Repeat("<", 256), Time: time.Now(), Method: "GET", Route: route, Status: 200})
	}
	if err := f.store.AddUsage(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	got, next := []string{}, ""
	for range want {
		query := url.Values{"by": {"route"}, "limit": {"2"}}
		if next != "" {
			query.Set("cursor", next)
		}
		w := f.local(t, "GET", "/api/v1/usage/sums?"+query.Encode(), "")
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		page := decode[admin.UsageSums](t, w)
		for _, s := range page.Sums {
			got = append(got, s.Route)
		}
		if next = page.Next; next == "" {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d routes of %d came in pages", len(got), len(want))
	}
}

// TestParametersOfEmptyListsAreChecked as those of others are.
func TestParametersOfEmptyListsAreChecked(t *testing.T) {
	f := newFixture(t)
	for _, query := range []string{"cursor=x", "cursor=e30"} {
		wantProblem(t, f.local(t, "GET", "/api/v1/nodes?"+query, ""), http.StatusBadRequest, "bad_request")
	}
}
