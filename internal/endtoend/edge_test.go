package endtoend

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"apibuilder/internal/acmetest"
)

// certificateFiles makes a certificate for names, and returns its files and what trusts it.
func certificateFiles(t *testing.T, names ...string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names, // OpenSSL wants to know who has signed it
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key, roots = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, key, roots
}

// names finds every host name on this machine.
type names struct {
	t      *testing.T
	client *http.Client
	roots  *x509.CertPool
}

// newNames dials one address for https, and the port that is named for http.
func newNames(t *testing.T, secure string, roots *x509.CertPool) *names {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			if port == "443" {
				return new(net.Dialer).DialContext(ctx, "tcp", secure)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &names{t, &http.Client{
		Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, roots}
}

func (n *names) call(method, url, key string, header ...string) (*http.Response, string) {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, url, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := n.client.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return res, string(body)
}

func (n *names) want(url, key, want string, header ...string) {
	n.t.Helper()
	if res, body := n.call("GET", url, key, header...); res.StatusCode != 200 || !strings.Contains(body, want) {
		n.t.Errorf("GET %s: status %d, %s; want %s", url, res.StatusCode, body, want)
	}
}

// wantTalk has a WebSocket inside TLS, at an address of the API, say what address that is and close with 4001.
func (n *names) wantTalk(prefix, key string) {
	n.t.Helper()
	u, err := url.Parse(prefix)
	if err != nil {
		n.t.Fatal(err)
	}
	conn, err := n.client.Transport.(*http.Transport).DialContext(n.t.Context(), "tcp", u.Host+":443")
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{RootCAs: n.roots, ServerName: u.Host, NextProtos: []string{"http/1.1"}})
	_ = secure.SetDeadline(time.Now().Add(30 * time.Second))
	w := &wire{Conn: secure, t: n.t, r: bufio.NewReader(secure)}
	w.write("GET " + u.Path + "/talk HTTP/1.1\r\nHost: " + u.Host + "\r\nX-API-Key: " + key + "\r\n" + askWebSocket + "\r\n")
	if res := w.head("GET"); res.StatusCode != http.StatusSwitchingProtocols {
		n.t.Fatalf("%s/talk: status %d", prefix, res.StatusCode)
	}
	where := strings.Replace(prefix, "https", "wss", 1) + "/talk"
	w.want("\x81" + string(rune(len(where))) + where + "\x88\x02\x0f\xa1")
}

// freePort is one that nobody listens at now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestCertificatesByACME obtains a certificate for the name of an API from an authority on this machine, by either challenge.
func TestCertificatesByACME(t *testing.T) {
	for name, overHTTP := range map[string]bool{"HTTP-01": true, "TLS-ALPN-01": false} {
		t.Run(name, func(t *testing.T) {
			plain, secure := freePort(t), freePort(t)
			roots := filepath.Join(t.TempDir(), "roots.pem")
			args := []string{
				"--listen-tls", fmt.Sprint("127.0.0.1:", secure), "--apps-domain", "apps.test", "--acme-email", "operator@example.com", "--acme-roots", roots,
			}
			authority := acmetest.New(t, 1, secure)
			if overHTTP {
				authority = acmetest.New(t, plain, 1)
				args = append(args, "--listen-redirect", fmt.Sprint("127.0.0.1:", plain))
			}
			if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Root.Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			s := serve(t, dataDir(t), append(args, "--acme-directory", authority.URL)...)
			example, _ := s.ready["example"].(map[string]any)
			n := newNames(t, fmt.Sprint(s.ready["listen_tls"]), authority.Issued)
			n.want(fmt.Sprintf("https://%s.apps.test/docs", example["name"]), fmt.Sprint(example["key"]), "openapi.json")
			if _, err := n.client.Get("https://nobody.apps.test/"); err == nil {
				t.Error("a certificate for a name that no API has")
			}
		})
	}
}

// TestTheEdge serves one program from one sandbox at all of its addresses, with and without TLS.
func TestTheEdge(t *testing.T) {
	cert, key, roots := certificateFiles(t, "api.example.com", "*.apps.example.com", "api.customer.com")
	s := serve(t, dataDir(t), "--no-example", "--listen-tls", "127.0.0.1:0", "--listen-redirect", "127.0.0.1:0",
		"--tls-cert", cert, "--tls-key", key, "--public-url", "https://api.example.com", "--apps-domain", "apps.example.com",
		"--mapped-hosts", "api.customer.com", "--trusted-proxies", "127.0.0.1")
	d := s.deploy("edge", sample(t, "rootpath/app.py"), sample(t, "rootpath/requirements.txt"),
		"--set", "host=api.customer.com", "--set", "public-paths=GET /where", "--set", "cors-origins=https://app.example.com")
	n := newNames(t, fmt.Sprint(s.ready["listen_tls"]), roots)
	for prefix, root := range map[string]string{
		"https://api.example.com/run/" + d.ID: "/run/" + d.ID, "https://api.example.com/run/edge": "/run/edge",
		"https://edge.apps.example.com": "", "https://api.customer.com": "",
	} {
		where := fmt.Sprintf(`{"root_path":"%s","url":"%s/where"}`, root, prefix)
		n.want(prefix+"/where", "", where)
		n.want(prefix+"/where", d.Key, where)
		n.want(prefix+"/api/v1/where", d.Key, where)
		n.want(prefix+"/docs", d.Key, "'"+root+"/openapi.json'")
		servers := `"servers":[{"url":"` + root + `"}]`
		if _, body := n.call("GET", prefix+"/openapi.json", d.Key); strings.Contains(body, `"servers"`) != (root != "") || root != "" && !strings.Contains(body, servers) {
			t.Errorf("%s: document %s", prefix, body)
		}
		n.wantTalk(prefix, d.Key)
		if res, _ := n.call("GET", prefix+"/api/v1/where", ""); res.StatusCode != 401 || res.ProtoMajor != 2 {
			t.Errorf("%s: another spelling of the public path: %s, status %d", prefix, res.Proto, res.StatusCode)
		}
	}
	out, err := s.command("apis", "show", "edge")
	if err != nil || !strings.Contains(out, "https://edge.apps.example.com\n") || !strings.Contains(out, "https://api.customer.com\n") {
		t.Errorf("apis show: %s, %v", out, err)
	}
	if res, _ := n.call("GET", "https://edge.apps.example.com/healthz", d.Key); res.StatusCode != 404 || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("/healthz at the API's address: %d %v", res.StatusCode, res.Header)
	}
	n.want("https://api.example.com/healthz", "", "ok")
	n.want(fmt.Sprintf("http://%s/run/edge/where", s.ready["listen"]), "", `"url":"https://b.example/run/edge/where"`,
		"X-Forwarded-Proto", "https", "X-Forwarded-Host", "b.example")

	res, _ := n.call("GET", fmt.Sprintf("http://%s/run/edge/where?q=1", s.ready["listen_redirect"]), "")
	if want := "https://127.0.0.1/run/edge/where?q=1"; res.StatusCode != 308 || res.Header.Get("Location") != want {
		t.Errorf("redirect: %d to %q, want %q", res.StatusCode, res.Header.Get("Location"), want)
	}
	if _, err := s.command("apis", "sleep", "edge"); err != nil {
		t.Fatal(err)
	}
	res, _ = n.call("OPTIONS", "https://edge.apps.example.com/where", "", "Origin", "https://app.example.com", "Access-Control-Request-Method", "PUT")
	if res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Errorf("preflight: %d %v", res.StatusCode, res.Header)
	}
	if out, err := s.command("apis", "update", "edge", "--set", "host=bank.example"); err == nil || !strings.Contains(err.Error(), "--mapped-hosts") {
		t.Errorf("a host that is not listed: %s, %v", out, err)
	}
}
