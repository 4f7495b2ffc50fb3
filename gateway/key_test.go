package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"apibuilder/store"
)

func TestSecretsIn(t *testing.T) {
	for _, c := range []struct {
		field, value string
		want         []string
	}{
		{"X-API-Key", testKey, []string{testKey}},
		{"X-API-Key", " " + testKey + " ", []string{testKey}},
		{"X-API-Key", "mine", nil},
		{"X-API-Key", "mine, " + testKey, []string{testKey}},
		{"X-API-Key", testKey + "," + otherKey, []string{testKey, otherKey}},
		{"X-API-Key", testToken, []string{testToken}},
		{"Authorization", "Bearer " + testKey, []string{testKey}},
		{"Authorization", "bEARER   " + testKey, []string{testKey}},
		{"Authorization", "Basic Zm9v, Bearer " + testKey, []string{testKey}},
		{"Authorization", "Bearer eyJhbGciOi", nil},
		{"Authorization", "Basic " + testKey, nil},
		{"Authorization", testKey, nil},
		{"Authorization", "Bearer", nil},
		{"Cookie", testKey, nil},
	} {
		h := http.Header{}
		h.Set(c.field, c.value)
		if got := secretsIn(h, nil); !slices.Equal(got, c.want) {
			t.Errorf("%s: %s: %q, want %q", c.field, c.value, got, c.want)
		}
	}
}

// Whatever a consumer sends, what is passed on holds no secret that the key check would have taken.
func FuzzSecrets(f *testing.F) {
	f.Add("X-Api-Key", testKey)
	f.Add("Authorization", "Bearer "+testKey)
	f.Add("X_Api_Key", testKey+",x")
	f.Add("Authorization", "Basic x,\tBearer\t"+testKey)
	f.Fuzz(func(t *testing.T, name, value string) {
		name = http.CanonicalHeaderKey(name)
		h := http.Header{name: {value}}
		text, err := appendHeader(nil, &http.Request{Header: h}, nil, "id", &origin{proto: "http", prefix: "/"})
		if err != nil {
			return // nothing is sent
		}
		var fields fieldList
		if err := fields.parse(text); err != nil {
			t.Fatalf("%q: %q: %v", name, value, err)
		}
		kept := http.Header{}
		fields.addTo(kept)
		if left := secretsIn(kept, nil); len(left) > 0 {
			t.Fatalf("%q: %q passes on %q", name, value, left)
		}
		for _, secret := range secretsIn(h, nil) {
			if !isSecret(secret) || strings.ContainsAny(secret, ",") {
				t.Fatalf("secret %q", secret)
			}
		}
	})
}

func TestKeys(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	long := "ab_" + strings.Repeat("a", 5000)
	for _, c := range []struct {
		name   string
		api    string
		fields []string // name, value, ...
		status int
		word   string
	}{
		{"none", "private", nil, 401, wordMissingKey},
		{"not ours", "private", []string{"X-API-Key", "mine"}, 401, wordMissingKey},
		{"bearer not ours", "private", []string{"Authorization", "Bearer mine"}, 401, wordMissingKey},
		{"right", "private", []string{"X-API-Key", testKey}, 204, ""},
		{"right by id", "api_private", []string{"X-API-Key", testKey}, 204, ""},
		{"bearer", "private", []string{"Authorization", "Bearer " + testKey}, 204, ""},
		{"with the author's own", "private", []string{"X-API-Key", "mine", "Authorization", "Bearer " + testKey}, 204, ""},
		{"unknown", "private", []string{"X-API-Key", unknownK}, 401, wordInvalidKey},
		{"unknown again", "private", []string{"X-API-Key", unknownK}, 401, wordInvalidKey},
		{"revoked", "private", []string{"X-API-Key", revokedK}, 401, wordInvalidKey},
		{"too long", "private", []string{"X-API-Key", long}, 401, wordInvalidKey},
		{"management token", "private", []string{"X-API-Key", testToken}, 401, wordInvalidKey},
		{"other API's", "private", []string{"X-API-Key", otherKey}, 403, wordWrongAPI},
		{"other API's at its own", "docs", []string{"X-API-Key", otherKey}, 204, ""},
		{"other API's again", "private", []string{"X-API-Key", otherKey}, 403, wordWrongAPI},
		{"two fields", "private", []string{"X-API-Key", testKey, "Authorization", "Bearer " + testKey}, 401, wordConflictingKeys},
		{"two values", "private", []string{"X-API-Key", testKey, "X-API-Key", unknownK}, 401, wordConflictingKeys},
		{"joined values", "private", []string{"X-API-Key", testKey + "," + testKey}, 401, wordConflictingKeys},
		{"public", "public", nil, 204, ""},
		{"public, wrong key", "public", []string{"X-API-Key", unknownK}, 204, ""},
		{"public, two keys", "public", []string{"X-API-Key", unknownK, "X-API-Key", testKey}, 204, ""},
		{"unknown API", "nobody", nil, 404, wordUnknownAPI},
		{"unknown API, key", "nobody", []string{"X-API-Key", testKey}, 404, wordUnknownAPI},
		{"never deployed", "new", nil, 502, wordNotDeployed},
	} {
		r, _ := http.NewRequest("GET", d.url+"/run/"+c.api+"/x", nil)
		for i := 0; i < len(c.fields); i += 2 {
			r.Header.Add(c.fields[i], c.fields[i+1])
		}
		got := d.do(r)
		t.Run(c.name, func(t *testing.T) {
			if c.word != "" {
				got.wantProblem(t, c.status, c.word)
			} else if got.StatusCode != c.status {
				t.Fatalf("status %d, body %s", got.StatusCode, got.text)
			}
			if challenge := got.Header.Get("WWW-Authenticate"); (challenge != "") != (c.status == 401) {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
		})
	}
}

// TestTheKeysOfOneConnection come one after the other, as through a proxy that has one connection for many consumers.
func TestTheKeysOfOneConnection(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	conn := d.dial()
	for _, c := range []struct {
		key    string
		status int
	}{{testKey, 200}, {testKey, 200}, {unknownK, 401}, {testKey, 200}, {otherKey, 403}, {otherKey, 403}, {testKey, 200}, {"", 401}, {testKey, 200}} {
		conn.send("GET /run/private/ HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\n\r\n", c.key)
		if got := conn.answer("GET"); got.StatusCode != c.status {
			t.Fatalf("%q: status %d, want %d", c.key, got.StatusCode, c.status)
		}
	}
	d.store.revoke(testKey)
	conn.send("GET /run/private/ HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\n\r\n", testKey)
	conn.answer("GET").wantProblem(t, 401, wordInvalidKey)
}

func TestWhatLooksLikeASecret(t *testing.T) {
	secret, _, _ := store.NewSecret(store.KeySecretPrefix)
	token, _, _ := store.NewSecret(store.TokenSecretPrefix)
	for value, want := range map[string]bool{
		"Token " + secret: true, `token="` + token + `"`: true, "ab_ab_" + secret: true, secret[:len(secret)-1]: true, // it is presented
		"Token " + secret[:len(secret)-1]: false, "lab_results tab_le": false, "": false, "ab_": true,
	} {
		if got := hasSecrets(apiKeyField, value); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

func TestKeyIsNeverForwarded(t *testing.T) {
	seen := make(chan http.Header, 1)
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })
	d.store.change(func() (c store.Change) { d.store.addKey("key_p", "api_public", unknownK); return })
	for _, c := range []struct {
		api   string
		send  http.Header
		want  http.Header // of the two fields
		keyID string
	}{
		{"private", http.Header{"X-Api-Key": {testKey}}, http.Header{}, "key_1"},
		{"private", http.Header{"Authorization": {"Bearer " + testKey}}, http.Header{}, "key_1"},
		{
			"private",
			http.Header{"X-Api-Key": {testKey}, "Authorization": {"Bearer mine"}},
			http.Header{"Authorization": {"Bearer mine"}},
			"key_1",
		},
		{
			"private",
			http.Header{"X-Api-Key": {"mine"}, "Authorization": {"Bearer " + testKey}},
			http.Header{"X-Api-Key": {"mine"}},
			"key_1",
		},
		{"public", http.Header{"X-Api-Key": {"mine"}}, http.Header{"X-Api-Key": {"mine"}}, ""},
		{"public", http.Header{"X-Api-Key": {testKey}}, http.Header{}, ""},
		{"public", http.Header{"X-Api-Key": {unknownK}}, http.Header{}, "key_p"},
		{"public", http.Header{"X-Api-Key": {testKey, "mine", unknownK}}, http.Header{"X-Api-Key": {"mine"}}, ""},
		{"public", http.Header{"Authorization": {"Basic x, Bearer " + testKey}}, http.Header{}, ""},
		{"public", http.Header{"X-Api-Key": {testToken}}, http.Header{}, ""},
		{"public", http.Header{"X-Api-Key": {"Bearer " + testKey}}, http.Header{}, ""}, // as it is not sent, but by mistake
		{"public", http.Header{"X-Api-Key": {`key="` + testToken + `"`}}, http.Header{}, ""},
		{"public", http.Header{"Authorization": {testKey}}, http.Header{}, ""},
		{"public", http.Header{"Authorization": {"Token token=" + testKey, "Bearer\t" + testToken}}, http.Header{}, ""},
		{"public", http.Header{"X_Api_Key": {testKey}}, http.Header{}, ""},
	} {
		r, _ := http.NewRequest("GET", d.url+"/run/"+c.api+"/", nil)
		r.Header = c.send
		if got := d.do(r); got.StatusCode != 200 {
			t.Errorf("%v: status %d", c.send, got.StatusCode)
			continue
		}
		h := within(t, "request", seen)
		for name, values := range h {
			if strings.Contains(strings.Join(values, " "), "ab_") || strings.Contains(strings.Join(values, " "), "abt_") {
				t.Errorf("%v: the program got %s: %q", c.send, name, values)
			}
		}
		for _, name := range []string{"X-Api-Key", "Authorization"} {
			if !slices.Equal(h[name], c.want[name]) {
				t.Errorf("%v: the program got %s: %q, want %q", c.send, name, h[name], c.want[name])
			}
		}
		if u := d.record(); u.KeyID != c.keyID {
			t.Errorf("%v: counted to key %q, want %q", c.send, u.KeyID, c.keyID)
		}
	}
}

func TestPreflightNeedsNoKey(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	for _, c := range []struct {
		method string
		fields http.Header
		body   string
		status int
	}{
		{"OPTIONS", http.Header{"Origin": {"https://x"}, "Access-Control-Request-Method": {"POST"}}, "", 204},
		{"OPTIONS", http.Header{"Origin": {"https://x"}, "Access-Control-Request-Method": {"POST"}}, "body", 401},
		{"OPTIONS", http.Header{"Access-Control-Request-Method": {"POST"}}, "", 401},
		{"OPTIONS", http.Header{"Origin": {"https://x"}}, "", 401},
		{"GET", http.Header{"Origin": {"https://x"}, "Access-Control-Request-Method": {"POST"}}, "", 401},
		{"OPTIONS", http.Header{
			"Origin": {"https://x"}, "Access-Control-Request-Method": {"POST"}, "X-Api-Key": {unknownK},
		}, "", 401},
	} {
		r, _ := http.NewRequest(c.method, d.url+"/run/private/x", strings.NewReader(c.body))
		r.Header = c.fields
		if got := d.do(r); got.StatusCode != c.status {
			t.Errorf("%s %v: status %d, want %d", c.method, c.fields, got.StatusCode, c.status)
		}
	}
}

func TestPublicDocs(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/run/docs/docs", 204},
		{"HEAD", "/run/docs/docs", 204},
		{"GET", "/run/docs/docs?x=1", 204},
		{"GET", "/run/docs/docs/oauth2-redirect?code=1", 204},
		{"GET", "/run/docs/redoc", 204},
		{"GET", "/run/api_docs/openapi.json", 204},
		{"POST", "/run/docs/docs", 401},
		{"OPTIONS", "/run/docs/docs", 401},
		{"GET", "/run/docs/docs/", 401},
		{"GET", "/run/docs//docs", 401},
		{"GET", "/run/docs/%64ocs", 401},
		{"GET", "/run/docs/docs/../items", 401},
		{"GET", "/run/docs/docs/oauth2-redirect/x", 401},
		{"GET", "/run/docs/", 401},
		{"GET", "/run/docs/items", 401},
		{"GET", "/run/private/docs", 401},
		{"GET", "/run/private/openapi.json", 401},
	} {
		conn := d.dial()
		conn.send("%s %s HTTP/1.1\r\nHost: h\r\n\r\n", c.method, c.target)
		if got := conn.answer(c.method); got.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.target, got.StatusCode, c.status)
		}
	}
	conn := d.dial()
	conn.send("GET /run/docs/docs HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	conn.answer("GET").wantProblem(t, 401, wordMissingKey)
	r, _ := http.NewRequest("GET", d.url+"/run/docs/docs", nil)
	r.Header.Set("X-API-Key", unknownK)
	if got := d.do(r); got.StatusCode != 204 {
		t.Errorf("with a wrong key: status %d", got.StatusCode)
	}
}
