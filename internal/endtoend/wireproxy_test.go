package endtoend

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

const signature2 = "\r\n\r\n\x00\r\nQUIT\n" // of version 2 of the PROXY protocol (haproxy.org/download/3.0/doc/proxy-protocol.txt, 2.2)

// proxy2 is a header of version 2: a command, the consumer's address and extensions.
func proxy2(command byte, from, extensions string) string {
	addr, family := netip.MustParseAddr(from), byte(0x11)
	if addr.Is6() {
		family = 0x21
	}
	rest := string(addr.AsSlice()) + string(addr.AsSlice()) + "\x00\x09\x00\x50" + extensions
	return signature2 + string([]byte{0x20 | command, family, 0, byte(len(rest))}) + rest
}

const (
	local2   = 0
	proxied2 = 1

	byTLS = "\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3" // PP2_TYPE_SSL, with what version it was
)

// TestProxyProtocolOverTheWire begins connections as proxies do that are trusted, and as others do that are not.
func TestProxyProtocolOverTheWire(t *testing.T) {
	cert, key, roots := certificateFiles(t, "api.example.com")
	s := serve(t, dataDir(t), "--no-example", "--proxy-protocol", "--trusted-proxies", "127.0.0.1,10.0.0.0/8",
		"--listen-tls", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	d := s.deploy("wire", sample(t, "wire/app.py"), sample(t, "wire/requirements.txt"))
	d.dial(t).write(signature2) // and nothing more: nobody else waits for that
	t.Run("believed", func(t *testing.T) { testProxied(t, d) })
	t.Run("refused", func(t *testing.T) { testNotProxied(t, d) })
	t.Run("strangers", func(t *testing.T) { testProxiesOfStrangers(t, d) })
	t.Run("inside", func(t *testing.T) {
		testProxiedTLS(t, d, fmt.Sprint(s.ready["listen_tls"]), &tls.Config{RootCAs: roots, ServerName: "api.example.com", NextProtos: []string{"http/1.1"}})
		testProxiedHTTP2(t, d)
	})
}

// wantFrom asks the program for the fields that came, among them what a consumer made up.
func (w *wire) wantFrom(node, proto string) {
	w.t.Helper()
	w.request("GET", "/head", "X-Forwarded-For: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\n\r\n")
	_, text := w.answer("GET")
	wantFrom(w.t, text, "h", node, proto)
}

func wantFrom(t *testing.T, fields, host, node, proto string) {
	t.Helper()
	quoted := node
	if strings.Contains(node, ":") {
		quoted = `"[` + node + `]"`
	}
	for _, want := range []string{
		"\nx-forwarded-for: " + node + "\n", "\nx-forwarded-proto: " + proto + "\n", "\nforwarded: for=" + quoted + `;host="` + host + `";proto=` + proto + "\n",
	} {
		if !strings.Contains(fields, want) {
			t.Errorf("no %q in %q", want, fields)
		}
	}
}

func testProxied(t *testing.T, d deployed) {
	for header, want := range map[string][2]string{
		"PROXY TCP4 6.6.6.6 7.7.7.7 9 80\r\n":           {"6.6.6.6", "http"},
		"PROXY TCP6 2001:db8::6 2001:db8::7 9 80\r\n":   {"2001:db8::6", "http"},
		"PROXY UNKNOWN\r\n":                             {"127.0.0.1", "http"},
		"PROXY UNKNOWN 6.6.6.6 7.7.7.7 9 80\r\n":        {"127.0.0.1", "http"},
		proxy2(proxied2, "6.6.6.6", ""):                 {"6.6.6.6", "http"},
		proxy2(proxied2, "2001:db8::6", "\x04\x00\x00"): {"2001:db8::6", "http"},
		proxy2(proxied2, "6.6.6.6", byTLS):              {"6.6.6.6", "https"},
		proxy2(local2, "6.6.6.6", byTLS):                {"127.0.0.1", "http"},
		"PROXY TCP4 10.1.1.1 7.7.7.7 9 80\r\n":          {"1.1.1.1", "http"}, // another proxy, which is believed
	} {
		t.Run(fmt.Sprintf("%q", header), func(t *testing.T) {
			w := d.dial(t)
			w.write(header[:1])
			w.write(header[1:])
			w.wantFrom(want[0], want[1])
			w.wantFrom(want[0], want[1])
			w.request("GET", "/chat", askWebSocket+"\r\n")
			if res := w.head("GET"); res.StatusCode != 101 {
				t.Errorf("a WebSocket: status %d", res.StatusCode)
			}
		})
	}
}

func testNotProxied(t *testing.T, d deployed) {
	for _, header := range []string{
		"", "proxy TCP4 6.6.6.6 7.7.7.7 9 80\r\n", "PROXY TCP4 6.6.6.6 7.7.7.7 9\r\n", "PROXY TCP4 6.6.6.666 7.7.7.7 9 80\r\n",
		"PROXY TCP4 6.6.6.6 7.7.7.7 9 80000\r\n", "PROXY TCP4 6.6.6.6 7.7.7.7 9 80\n", "PROXY TCP6 6.6.6.6 7.7.7.7 9 80\r\n", "PROXY TCP4  6.6.6.6 7.7.7.7 9 80\r\n",
		"PROXY UNKNOWN" + strings.Repeat(" ", 100) + "\r\n", "PROXY\r\n", "PROXY SCTP 6.6.6.6 7.7.7.7 9 80\r\n",
		strings.Replace(proxy2(proxied2, "6.6.6.6", ""), "QUIT", "QUiT", 1),
		strings.Replace(proxy2(proxied2, "6.6.6.6", ""), "\x21\x11", "\x31\x11", 1), // version 3
		strings.Replace(proxy2(proxied2, "6.6.6.6", ""), "\x21\x11", "\x22\x11", 1), // a command that there is not
		signature2 + "\x21\x11\x00\x04\x06\x06\x06\x06",                             // half an address
	} {
		w := d.dial(t)
		go func() {
			_, _ = fmt.Fprintf(w.Conn, "%sGET %s/mark?x HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n\r\n", header, w.path, w.key)
		}()
		if text, _ := io.ReadAll(w.r); len(text) > 0 { // the end may be a reset
			t.Errorf("%q is answered: %q", header, text)
		}
	}
	w := d.dial(t)
	w.write("PROXY TCP4 6.6.6.6 7.7.7.7 9 80\r\n" + proxy2(proxied2, "1.1.1.1", ""))
	if res, text := w.answer("GET"); res.StatusCode != 400 {
		t.Errorf("a second header: status %d, %s", res.StatusCode, text)
	}
	w = d.dial(t)
	w.write("PROXY TCP4 6.6.6.6 7.7.7.7 9 80\r\n")
	w.request("GET", "/marked", "\r\n")
	if _, text := w.answer("GET"); text != "" {
		t.Errorf("the program was called: %q", text)
	}
}

// testProxiesOfStrangers comes from an address that is not a trusted proxy's.
func testProxiesOfStrangers(t *testing.T, d deployed) {
	d.dialFrom(t, "127.0.0.2").wantFrom("127.0.0.2", "http")
	for _, header := range []string{"PROXY TCP4 6.6.6.6 7.7.7.7 9 80\r\n", proxy2(proxied2, "6.6.6.6", "")} {
		w := d.dialFrom(t, "127.0.0.2")
		w.write(header)
		w.request("GET", "/mark?x", "\r\n")
		if res, text := w.answer("GET"); res.StatusCode != 400 || !strings.Contains(text, `"bad_request"`) {
			t.Errorf("%q: status %d, %s", header, res.StatusCode, text)
		}
	}
}

func testProxiedTLS(t *testing.T, d deployed, secure string, config *tls.Config) {
	for header, want := range map[string]string{"PROXY TCP4 6.6.6.6 7.7.7.7 9 443\r\n": "6.6.6.6", "": ""} {
		conn, err := net.Dial("tcp", secure)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, header)
		client := tls.Client(conn, config)
		if err := client.HandshakeContext(t.Context()); err != nil || want == "" {
			if err == nil || want != "" {
				t.Errorf("TLS behind %q: %v", header, err)
			}
			continue
		}
		w := &wire{client, t, bufio.NewReader(client), d.path(t), d.Key}
		w.wantFrom(want, "https")
	}
}

func testProxiedHTTP2(t *testing.T, d deployed) {
	client := overHTTP2(t)
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			_, err = io.WriteString(conn, proxy2(proxied2, "6.6.6.6", byTLS))
		}
		return conn, err
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", d.URL+"/head", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", d.Key)
	res, err := client.Do(r)
	if err != nil || res.ProtoMajor != 2 {
		t.Fatalf("%v, %v", res, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	wantFrom(t, string(text), r.URL.Host, "6.6.6.6", "https")
}
