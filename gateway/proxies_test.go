package gateway

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

func TestParseProxies(t *testing.T) {
	p, err := ParseProxies(" 10.0.0.0/8, 192.0.2.7,2001:db8::/32,::ffff:198.51.100.1,")
	if err != nil || len(p) != 4 {
		t.Fatalf("%v, %v", p, err)
	}
	for text, want := range map[string]bool{
		"10.1.2.3": true, "11.0.0.1": false, "192.0.2.7": true, "192.0.2.8": false, "2001:db8::9": true, "2001:db9::9": false,
		"198.51.100.1": true, "::ffff:10.1.2.3": true,
	} {
		if got := p.trust(addrOf(text)); got != want {
			t.Errorf("%s trusted: %v", text, got)
		}
	}
	if (Proxies{netip.MustParsePrefix("0.0.0.0/0")}).trust(netip.Addr{}) {
		t.Error("nobody is trusted")
	}
	for _, text := range []string{"10.0.0.1/8", "proxy", "10.0.0.0/33", "10.0.0.0/8 10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.0/104"} {
		if _, err := ParseProxies(text); err == nil || !strings.Contains(err.Error(), strings.SplitN(text, ",", 2)[0]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

var loopback = Proxies{netip.MustParsePrefix("127.0.0.0/8")}

// TestOrigin sends what proxies and consumers write, and shows what the program is told.
func TestOrigin(t *testing.T) {
	trusted := append(Proxies{netip.MustParsePrefix("10.0.0.0/8")}, loopback...)
	for _, c := range []struct {
		name              string
		config            Config
		send              string
		client, proto, at string
	}{
		{"nobody is trusted", Config{}, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n", "127.0.0.1", "http", "a.example"},
		{"another is trusted", Config{TrustedProxies: trusted[:1]}, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n", "127.0.0.1", "http", "a.example"},
		{"a proxy", Config{TrustedProxies: loopback}, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\n", "6.6.6.6", "https", "b.example"},
		{"what a consumer said before", Config{TrustedProxies: loopback}, "X-Forwarded-For: 1.1.1.1, 6.6.6.6\r\n", "6.6.6.6", "http", "a.example"},
		{"two lines are one list", Config{TrustedProxies: loopback}, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 6.6.6.6\r\n", "6.6.6.6", "http", "a.example"},
		{"two proxies", Config{TrustedProxies: trusted}, "X-Forwarded-For: 1.1.1.1, 6.6.6.6, 10.2.2.2\r\nX-Forwarded-Proto: ftp, https, http\r\n", "6.6.6.6", "https", "a.example"},
		{"all are proxies", Config{TrustedProxies: trusted}, "X-Forwarded-For: 10.1.1.1,10.2.2.2\r\n", "10.1.1.1", "http", "a.example"},
		{"ports, IPv6", Config{TrustedProxies: loopback}, "X-Forwarded-For: [2001:db8::1]:80\r\n", `2001:db8::1`, "http", "a.example"},
		{"no address", Config{TrustedProxies: trusted}, "X-Forwarded-For: 6.6.6.6, unknown, 10.2.2.2\r\n", "10.2.2.2", "http", "a.example"},
		{"Forwarded is not read", Config{TrustedProxies: loopback}, "Forwarded: for=6.6.6.6;proto=https\r\n", "127.0.0.1", "http", "a.example"},
		{"Forwarded is read", Config{TrustedProxies: loopback, ReadForwarded: true}, "X-Forwarded-For: 1.1.1.1\r\nForwarded: for=6.6.6.6;Proto=https;host=\"b.example:8443\"\r\n", "6.6.6.6", "https", "b.example:8443"},
		{"Forwarded by two", Config{TrustedProxies: trusted, ReadForwarded: true}, "Forwarded: for=1.1.1.1;proto=ftp, for=\"6.6.6.6:90\";proto=https\r\nForwarded: for=10.2.2.2;proto=http\r\n", "6.6.6.6", "https", "a.example"},
		{"unknown", Config{TrustedProxies: loopback, ReadForwarded: true}, "Forwarded: for=unknown;proto=https\r\n", "127.0.0.1", "https", "a.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newRawDoor(t, c.config, echoHead)
			conn := d.dial()
			conn.send("GET /run/public/ HTTP/1.1\r\nHost: a.example\r\n%s\r\n", c.send)
			head := conn.answer("GET").text
			node := c.client
			if strings.Contains(node, ":") {
				node = `"[` + node + `]"`
			}
			for field, want := range map[string]string{
				"X-Forwarded-For": c.client, "X-Forwarded-Proto": c.proto, "X-Forwarded-Host": c.at, "Host": c.at,
				"Forwarded": "for=" + node + `;host="` + c.at + `";proto=` + c.proto,
			} {
				if got := fieldsOf(head, field); len(got) != 1 || got[0] != want {
					t.Errorf("%s: %q, want %q", field, got, want)
				}
			}
		})
	}
}

func TestHostsAreStrict(t *testing.T) {
	d := newRawDoor(t, Config{TrustedProxies: loopback}, echoHead)
	for _, host := range []string{
		"a b", "user@a.example", "a.example:http", "a.example:99999", "a..b", ".a", "a/b", "a%2eb", "[::1", "::1", "[fe80::1%25eth0]", "a,b", "ä.example", "a.example..",
	} {
		conn := d.dial()
		conn.send("GET /run/public/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
		conn.answer("GET").wantProblem(t, 400, wordBadRequest)
		conn = d.dial()
		conn.send("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: %s\r\nConnection: close\r\n\r\n", strings.ReplaceAll(host, ",", "@"))
		conn.answer("GET").wantProblem(t, 400, wordBadRequest)
	}
	for host, want := range map[string]string{
		"A.Example": "a.example", "a.example.": "a.example", "a_b:": "a_b", "127.0.0.1:80": "127.0.0.1", "[::1]:80": "::1", "[0::1]": "::1",
	} {
		if got, ok := hostnameOf(host); got != want || !ok {
			t.Errorf("%s: %q, %v", host, got, ok)
		}
	}
}

// A consumer cannot hide behind its proxy by what it writes before the proxy does.
func TestForwardedThatIsNone(t *testing.T) {
	d := newRawDoor(t, Config{TrustedProxies: loopback, ReadForwarded: true}, echoHead)
	for _, value := range []string{`for=", for=6.6.6.6`, "for=1.1.1.1;for=2.2.2.2, for=6.6.6.6", "for=a b, for=6.6.6.6"} {
		conn := d.dial()
		conn.send("GET /run/public/ HTTP/1.1\r\nHost: a\r\nForwarded: %s\r\n\r\n", value)
		conn.answer("GET").wantProblem(t, 400, wordBadRequest)
	}
}

func TestProxyProtocol(t *testing.T) {
	d := newRawDoor(t, Config{TrustedProxies: loopback, ProxyProtocol: true}, echoHead)
	for _, version := range []byte{1, 2} {
		conn := d.dial()
		header := proxyproto.HeaderProxyFromAddrs(version, &net.TCPAddr{IP: net.IP{6, 6, 6, 6}, Port: 9}, &net.TCPAddr{IP: net.IP{7, 7, 7, 7}, Port: 80})
		if _, err := header.WriteTo(conn.Conn); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			conn.send("GET /run/public/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")
			if got := fieldsOf(conn.answer("GET").text, "X-Forwarded-For"); len(got) != 1 || got[0] != "6.6.6.6" {
				t.Errorf("version %d: X-Forwarded-For %q", version, got)
			}
		}
	}
	conn := d.dial()
	header := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.IP{6, 6, 6, 6}, Port: 9}, &net.TCPAddr{IP: net.IP{7, 7, 7, 7}, Port: 80})
	if err := header.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_SSL, Value: []byte("\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := header.WriteTo(conn.Conn); err != nil {
		t.Fatal(err)
	}
	conn.send("GET /run/public/ HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := fieldsOf(conn.answer("GET").text, "X-Forwarded-Proto"); len(got) != 1 || got[0] != "https" {
		t.Errorf("X-Forwarded-Proto %q of a consumer by TLS", got)
	}
	conn = d.dial() // a trusted proxy that leaves it out
	conn.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
	if text, _ := io.ReadAll(conn.r); strings.Contains(string(text), "200 OK") {
		t.Errorf("answered %q", text)
	}
}

// What a proxy passes on without saying from whom is its consumer's own word, although the connection is the proxy's.
func TestProxyProtocolWithoutAnAddress(t *testing.T) {
	for field, forwarded := range map[string]bool{"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b": false, "Forwarded: for=1.1.1.1;proto=https;host=b": true} {
		d := newRawDoor(t, Config{TrustedProxies: loopback, ProxyProtocol: true, ReadForwarded: forwarded}, echoHead)
		for _, header := range []string{
			"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
			"\r\n\r\n\x00\r\nQUIT\n\x20\x11\x00\x1eaaaabbbbccdd\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3",
		} {
			conn := d.dial()
			conn.send("%sGET /run/public/ HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", header, field)
			want := []string{`for=127.0.0.1;host="a";proto=http`}
			if got := fieldsOf(conn.answer("GET").text, "Forwarded"); !slices.Equal(got, want) {
				t.Errorf("%q after %q: Forwarded %q", field, header, got)
			}
		}
	}
}

func TestProxyProtocolOfStrangers(t *testing.T) {
	d := newRawDoor(t, Config{TrustedProxies: Proxies{netip.MustParsePrefix("10.0.0.0/8")}, ProxyProtocol: true}, echoHead)
	conn := d.dial()
	conn.send("PROXY TCP4 6.6.6.6 7.7.7.7 9 80\r\nGET /run/public/ HTTP/1.1\r\nHost: a\r\n\r\n")
	conn.answer("GET").wantProblem(t, 400, wordBadRequest)
	conn = d.dial()
	conn.send("GET /run/public/ HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := fieldsOf(conn.answer("GET").text, "X-Forwarded-For"); len(got) != 1 || got[0] != "127.0.0.1" {
		t.Errorf("X-Forwarded-For %q", got)
	}
}

func FuzzForwarded(f *testing.F) {
	for _, text := range []string{
		`for=1.1.1.1;proto=https, for="[::1]:8";host="a\"b"`, `;;,, for=_x ; by=y`, `for="`, `for=a;for=b`, `for = a`, `=,`, `for="\`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		elements, ok := parseForwarded(text)
		if !ok && elements != nil {
			t.Errorf("%q: %v", text, elements)
		}
		if ok && strings.Count(text, "=") < len(elements) {
			t.Errorf("%q has %d elements", text, len(elements))
		}
		// What one proxy adds at the end is the last element, whatever a consumer has written before it, or nothing is read.
		elements, ok = parseForwarded(text + ",for=9.9.9.9")
		if ok && elements[len(elements)-1] != (forwardedElement{node: "9.9.9.9"}) {
			t.Errorf("%q: last %+v", text, elements[len(elements)-1])
		}
	})
}

func FuzzHostname(f *testing.F) {
	for _, host := range []string{"a.example:80", "[::1]:80", "A.", "a_b", "[::ffff:1.1.1.1]", "1.1.1.1", "[1.1.1.1]"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, ok := hostnameOf(host)
		if !ok {
			return
		}
		if strings.ContainsAny(host, "\"\\/@ ,;") || name == "" || name != strings.ToLower(name) {
			t.Errorf("%q: %q", host, name)
		}
		again, ok := hostnameOf(name)
		if strings.Contains(name, ":") {
			again, ok = hostnameOf("[" + name + "]")
		}
		if !ok || again != name {
			t.Errorf("%q: %q, then %q, %v", host, name, again, ok)
		}
	})
}
