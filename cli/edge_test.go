package cli

import (
	"strings"
	"testing"

	"apibuilder/gateway"
	"apibuilder/store"
)

func TestBadEdgeSettings(t *testing.T) {
	for want, args := range map[string][]string{
		"its first address is 10.0.0.0/8": {"--trusted-proxies", "10.0.0.1/8"},
		"neither x-forwarded":             {"--proxy-headers", "both"},
		"--trusted-proxies":               {"--proxy-protocol"},
		"name that with --tls-key":        {"--tls-cert", "x", "--listen-tls", ":0"},
		"name that with --tls-cert":       {"--tls-key", "x", "--listen-tls", ":0"},
		"give one with --listen-tls":      {"--tls-cert", "x", "--tls-key", "x"},
		"for TLS with --listen-tls":       {"--listen-redirect", ":0"},
		"name one with --tls-cert":        {"--listen-tls", ":0"},
		"exclude each other":              {"--acme-email", "a@b.example", "--tls-cert", "x", "--tls-key", "x", "--listen-tls", ":0"},
		"reached at port 443":             {"--acme-email", "a@b.example"},
		"no mail address":                 {"--acme-email", "Ann <a@b.example>"},
		"no address of a directory":       {"--acme-directory", "http://acme.example/dir"},
		"\"localhost\" is no domain":      {"--apps-domain", "localhost"},
		"\"*\" is no domain":              {"--mapped-hosts", "*"},
		"says whose it is without a user": {"--mapped-hosts", "api.customer.com="},
		"choose another name":             {"--public-url", "https://api.apps.example.com", "--apps-domain", "apps.example.com"},
	} {
		code, _, stderr := run(t, append([]string{"serve"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, want) || !strings.Contains(stderr, args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

// TestAMappedHostIsTakenByItsOwner, by the user's name or id, and by operators; one that the list gives to nobody by anybody.
func TestAMappedHostIsTakenByItsOwner(t *testing.T) {
	hosts, err := gateway.ParseHosts("api.customer.com=anna,*.example.com,shop.example.com=user_b")
	if err != nil {
		t.Fatal(err)
	}
	o := edgeOptions{mappedHosts: hosts}
	anna, bert := store.User{ID: "user_a", Name: "anna"}, store.User{ID: "user_b", Name: "bert"}
	for _, c := range []struct {
		host string
		by   store.User
		want bool
	}{
		{"api.customer.com", anna, true},
		{"api.customer.com", bert, false},
		{"api.customer.com", store.User{}, true},
		{"shop.example.com", bert, true},
		{"shop.example.com", anna, false},
		{"x.example.com", anna, true},
		{"bank.example", store.User{}, false},
	} {
		if got := o.mayTake(c.host, c.by); got != c.want {
			t.Errorf("%s by %q: %v", c.host, c.by.Name, got)
		}
	}
}
