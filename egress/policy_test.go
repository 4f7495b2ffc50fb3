package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func mustParse(t testing.TB, text string) Policy {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "none",
		"none":                                  "none",
		"internet":                              "internet",
		"API.Stripe.com.:443":                   "api.stripe.com:443",
		"*.supabase.co:443":                     "*.supabase.co:443",
		"10.0.0.5:5432, db:1":                   "10.0.0.5:5432, db:1",
		"10.1.2.3/16:5432":                      "10.1.0.0/16:5432",
		"[2001:DB8::1]:443\n[2001:db8::/32]:80": "[2001:db8::1]:443, [2001:db8::/32]:80",
		"[::ffff:1.2.3.4]:80":                   "",
		"internet db.internal:5432":             "internet, db.internal:5432",
		"a.example:1,a.example:1":               "a.example:1",
	} {
		p, err := Parse(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q is %s", text, p)
			}
			continue
		}
		if err != nil || p.String() != want {
			t.Errorf("%q is %q, %v; want %q", text, p, err, want)
		}
	}
}

// TestParseRefuses wants errors that name the entry and what to write instead.
func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"all":                         `"all": write internet for every public address`,
		"*":                           `"*": write internet`,
		"Any":                         `"Any": write internet`,
		"api.stripe.com":              `"api.stripe.com" has no port: write api.stripe.com:443`,
		"https://api.stripe.com/v1":   "is a URL: write the host and the port alone",
		"api.stripe.com:https":        `"https" is no port: write a number from 1 to 65535`,
		"api.stripe.com:0":            "is no port",
		"api.stripe.com:65536":        "is no port",
		"2001:db8::1":                 "write [2001:db8::1]:443",
		"2001:db8::1:443":             "brackets",
		"[2001:db8::1]":               "has no port",
		"[1.2.3.4]:80":                "is no IPv6 address",
		"[fe80::1%eth0]:80":           "is no IPv6 address",
		"10.0.0.0/33:80":              "is no range",
		"1.2.3:80":                    "neither a host name nor an address",
		"0x7f.1:80":                   "neither a host name",
		"*:443":                       "is no host name",
		"*.*.example.com:443":         "is no host name",
		"a*.example.com:443":          "is no host name",
		"exa mple.com:443":            "has no port",
		"-x.example.com:443":          "is no host name",
		"bücher.example:443":          "xn--",
		"localhost:5432":              "the program's own sandbox",
		"none, internet":              "leave out one",
		strings.Repeat("a.b:1 ", 201): "more than 200",
		":443":                        "is no host name",
	} {
		p, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %s, %v; want %q", text, p, err, want)
		}
	}
}

func TestAllows(t *testing.T) {
	name := func(n string, port uint16) Destination { return Destination{Name: n, Port: port} }
	at := func(a string, port uint16) Destination { return Destination{Addr: netip.MustParseAddr(a), Port: port} }
	for _, c := range []struct {
		policy string
		to     Destination
		want   bool
	}{
		{"none", name("a.example", 443), false},
		{"internet", name("a.example", 25), true},
		{"internet", at("8.8.8.8", 53), true},
		{"internet", at("10.0.0.1", 53), false},
		{"internet", at("fd00::1", 53), false},
		{"a.example:443", name("a.example", 443), true},
		{"a.example:443", name("a.example", 80), false},
		{"a.example:443", name("b.a.example", 443), false},
		{"*.a.example:443", name("b.c.a.example", 443), true},
		{"*.a.example:443", name("a.example", 443), false},
		{"*.a.example:443", name("xa.example", 443), false},
		{"1.2.3.4:80", at("1.2.3.4", 80), true},
		{"1.2.3.4:80", name("a.example", 80), false},
		{"1.2.0.0/16:80", at("1.2.200.1", 80), true},
		{"1.2.0.0/16:80", at("1.3.0.1", 80), false},
	} {
		if got := mustParse(t, c.policy).Allows(c.to); got != c.want {
			t.Errorf("%s allows %s: %v", c.policy, c.to, got)
		}
	}
}

func TestCeilingChecks(t *testing.T) {
	for _, c := range []struct{ most, private, policy, want string }{
		{"none", "", "none", ""},
		{"none", "", "a.example:443", "above the operator's ceiling, which is none"},
		{"none", "", "internet", "--egress-ceiling internet"},
		{"internet", "", "internet, a.example:1", ""},
		{"internet", "", "10.0.0.5:5432", "--egress-allow-private 10.0.0.5:5432"},
		{"internet", "", "169.254.169.254:80", "never allowed"},
		{"internet", "10.0.0.0/8:5432", "10.0.0.5:5432", ""},
		{"internet", "10.0.0.0/8:5432", "10.0.0.5:5433", "never allowed"},
		{"none", "db.internal:5432", "db.internal:5432", ""},
		{"*.example.com:443, b.org:80", "", "x.example.com:443, *.y.example.com:443, b.org:80", ""},
		{"*.example.com:443", "", "example.com:443", "above the operator's ceiling"},
		{"x.example.com:443", "", "*.example.com:443", "above the operator's ceiling"},
		{"*.example.com:443", "", "internet", "above the operator's ceiling"},
	} {
		private, err := ParseRules(c.private)
		if err != nil {
			t.Fatal(err)
		}
		ceiling := &Ceiling{Most: mustParse(t, c.most), Private: private}
		err = ceiling.Check(mustParse(t, c.policy))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s under %s: %v, want %q", c.policy, ceiling, err, c.want)
		}
	}
}

// FuzzParse holds what is parsed to what is written: a policy reads back as itself, and none allows what no entry names.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"api.stripe.com:443, *.supabase.co:443", "[2001:db8::1]:443 10.0.0.0/8:1", "internet", "none", "[::]:1", "*.:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if p.String() != "none" {
				t.Errorf("%q is refused and yet %s", text, p)
			}
			return
		}
		again, err := Parse(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q is %q, which reads as %q, %v", text, p, again, err)
		}
		for _, r := range p.Rules {
			if r.Port == 0 || r.Name == "" && !r.Prefix.IsValid() {
				t.Errorf("%q has the entry %+v", text, r)
			}
			if !r.covers(r) {
				t.Errorf("%s does not cover itself", r)
			}
		}
	})
}
