package egress

import (
	"net/netip"
	"strings"
	"testing"
	"time"
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
		{"internet", "169.254.0.0/16:80", "169.254.0.0/16:80, 169.254.7.7:80", ""},
		{"internet", "169.254.0.0/16:80", "169.254.169.254:80", "never allowed: it is a cloud's metadata service"},
		{"internet", "169.254.169.254:80", "169.254.169.254:80", ""},
		{"internet", "127.0.0.0/8:80", "127.0.0.1:80", "--egress-allow-private 127.0.0.1:80"},
		{"internet", "[::/0]:80", "[::1]:80", "never allowed: it is loopback"},
		{"internet", "127.0.0.0/8:80, 127.0.0.1:80", "127.0.0.1:80", ""},
		{"internet", "8.8.0.0/16:53", "8.8.8.8:53", ""},
		{"none", "8.8.0.0/16:53", "8.8.8.8:53", ""},
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

// TestExceptionsThatAllowNothing are refused where they are set.
func TestExceptionsThatAllowNothing(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.0/8:80":                "127.0.0.1:80",
		"10.0.0.0/8:80, [ff00::/8]:443": "[ff00::1]:443",
		"224.0.0.0/4:80":                "224.0.0.1:80",
		"::/0:80":                       "brackets",
	} {
		if rules, err := ParsePrivate(text); err == nil || len(rules) > 0 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, rules, err)
		}
	}
	for _, text := range []string{"", "0.0.0.0/0:80", "[::/0]:80", "127.0.0.1:80", "169.254.0.0/16:80", "8.8.8.0/24:53", "100.64.0.0/10:1", "*.internal:80"} {
		if _, err := ParsePrivate(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestExceptionsOfOneAddress has an operator name what would let a program become somebody else by ranges and names, which allow nothing of
// it, and by the one address and port, which does. Private networks may be named in all of these ways.
func TestExceptionsOfOneAddress(t *testing.T) {
	const none = Class("")
	for _, c := range []struct {
		private string // of the operator, and the whole of what the owner names
		to      string // a name that resolves to at; empty: at itself
		at      string
		refused Class
	}{
		{"127.0.0.0/8:80", "", "127.0.0.1", Loopback},
		{"127.0.0.1/31:80", "", "127.0.0.1", Loopback},
		{"0.0.0.0/0:80", "", "127.0.0.1", Loopback},
		{"127.0.0.1:80", "", "127.0.0.1", none},
		{"127.0.0.1:80", "", "127.0.0.2", Loopback},
		{"127.0.0.1:81", "", "127.0.0.1", Loopback},
		{"[::/0]:80", "", "::1", Loopback},
		{"[::1/127]:80", "", "::1", Loopback},
		{"[::1]:80", "", "::1", none},
		{"127.0.0.0/8:80", "", "::ffff:127.0.0.1", Loopback},
		{"127.0.0.1:80", "", "::ffff:127.0.0.1", none},

		{"169.254.0.0/16:80", "", "169.254.169.254", Metadata},
		{"169.254.169.254/31:80", "", "169.254.169.254", Metadata},
		{"169.254.0.0/16:80", "", "169.254.7.7", none},
		{"169.254.169.254:80", "", "169.254.169.254", none},
		{"100.64.0.0/10:80", "", "100.100.100.200", Metadata},
		{"100.64.0.0/10:80", "", "100.64.0.1", none},
		{"168.63.129.0/24:80", "", "168.63.129.16", Metadata},
		{"[fd00:ec2::/32]:80", "", "fd00:ec2::254", Metadata},
		{"[fd00:ec2::/32]:80", "", "fd00:ec2::253", none},
		{"[fd00:ec2::254]:80", "", "fd00:ec2::254", none},
		{"[64:ff9b::/96]:80", "", "64:ff9b::169.254.169.254", Metadata},
		{"[64:ff9b::/96]:80", "", "64:ff9b::127.0.0.1", Loopback},
		{"[64:ff9b::/96]:80", "", "64:ff9b::10.0.0.1", none},
		{"[64:ff9b::/96]:80", "", "64:ff9b::5.5.5.1", OwnHost},
		{"[64:ff9b::/96]:80", "", "64:ff9b::5.5.5.2", none},
		{"169.254.169.254:80", "", "64:ff9b::169.254.169.254", Metadata},

		{"10.1.0.0/16:80", "", "10.1.2.3", OwnHost},
		{"10.1.2.3/31:80", "", "10.1.2.3", OwnHost},
		{"10.1.0.0/16:80", "", "10.1.2.4", none},
		{"10.1.2.3:80", "", "10.1.2.3", none},
		{"5.5.5.0/24:80", "", "5.5.5.1", OwnHost},
		{"5.5.5.1:80", "", "5.5.5.1", none},
		{"[fd00:5::/64]:80", "", "fd00:5::1", OwnHost},
		{"[fd00:5::/64]:80", "", "fd00:5::2", none},
		{"[fd00:5::1]:80", "", "fd00:5::1", none},

		{"224.0.0.0/4:80", "", "224.0.0.1", Multicast},
		{"[ff00::/8]:80", "", "ff02::1", Multicast},

		{"db.internal:80", "db.internal", "10.0.0.7", none},
		{"db.internal:80", "db.internal", "fd00::7", none},
		{"db.internal:80", "db.internal", "127.0.0.1", Loopback},
		{"db.internal:80", "db.internal", "::1", Loopback},
		{"db.internal:80", "db.internal", "::ffff:127.0.0.1", Loopback},
		{"db.internal:80", "db.internal", "169.254.169.254", Metadata},
		{"db.internal:80", "db.internal", "fd00:ec2::254", Metadata},
		{"db.internal:80", "db.internal", "10.1.2.3", OwnHost},
		{"db.internal:80", "db.internal", "fd00:5::1", OwnHost},
		{"*.internal:80", "db.internal", "10.0.0.7", none},
		{"*.internal:80", "db.internal", "127.0.0.1", Loopback},
		{"*.internal:80", "db.internal", "::1", Loopback},
		{"*.internal:80", "db.internal", "169.254.169.254", Metadata},
		{"*.internal:80", "db.internal", "10.1.2.3", OwnHost},
		{"db.internal:80, 127.0.0.0/8:80", "db.internal", "127.0.0.1", Loopback},
		{"db.internal:80, 127.0.0.1:80", "db.internal", "127.0.0.1", none},
		{"db.internal:80, 169.254.0.0/16:80", "db.internal", "169.254.169.254", Metadata},
		{"db.internal:80, 169.254.169.254:80", "db.internal", "169.254.169.254", none},
		{"db.internal:80, [::1]:80", "db.internal", "::1", none},
	} {
		private, err := ParseRules(c.private)
		if err != nil {
			t.Fatal(err)
		}
		ceiling := &Ceiling{Most: mustParse(t, "internet"), Private: private, host: ownHost("10.1.2.3", "5.5.5.1", "fd00:5::1")}
		at := netip.MustParseAddr(c.at)
		to := Destination{Name: c.to, Port: 80}
		if c.to == "" {
			to.Addr = at
		}
		excepted, refusal := ceiling.address(mustParse(t, c.private), to, at)
		switch {
		case c.refused == none && (refusal != nil || !excepted):
			t.Errorf("%s does not allow %s at %s: %v", c.private, to, at, refusal)
		case c.refused != none && refusal == nil:
			t.Errorf("%s allows %s at %s", c.private, to, at)
		case c.refused != none && (refusal.Reason != Never || refusal.Class != c.refused):
			t.Errorf("%s at %s under %s: %v, want %s", to, at, c.private, refusal, c.refused)
		}
	}
}

// ownHost are the addresses of a host that has just these, and where routes of this machine lead to itself.
func ownHost(addresses ...string) ownAddresses {
	return ownAddresses{all: addrs(addresses...), read: time.Now().Add(time.Hour)}
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
