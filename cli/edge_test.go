package cli

import (
	"strings"
	"testing"
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
		"choose another name":             {"--public-url", "https://api.apps.example.com", "--apps-domain", "apps.example.com"},
	} {
		code, _, stderr := run(t, append([]string{"serve"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, want) || !strings.Contains(stderr, args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}
