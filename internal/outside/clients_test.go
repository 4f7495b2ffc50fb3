package outside

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
	"apibuilder/internal/pgtest"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

//go:embed clients.py
var clientsCode string

const (
	webAddress  = "93.184.216.34"
	sixAddress  = "2606:2800::1"
	otherSix    = "2606:2800::2"
	dbAddress   = "10.9.8.7"
	metaAddress = "169.254.169.254"
	nameAddress = "9.9.9.9"
)

type answer struct {
	Result  string
	Seconds float64
}

// TestClients has ordinary Python clients reach what is allowed unchanged, and be told at once what is not.
func TestClients(t *testing.T) {
	var spec sandbox.Spec
	if !nettest.Isolated(t, &spec, func() {
		spec = testenv.Spec(t, "requests\nhttpx\naiohttp\nasyncpg\npsycopg[binary]\nredis\ngrpcio\n", "")
	}) {
		return
	}
	w := nettest.NewWorld(t, webAddress+"/32", sixAddress+"/128", otherSix+"/128", dbAddress+"/32", metaAddress+"/32", nameAddress+"/32")
	names := nettest.NewNames(w, nameAddress+":53", map[string][]string{
		"web.example.com": {webAddress}, "six.example.com": {sixAddress}, "other.example.com": {webAddress},
		"db.internal": {dbAddress}, "cache.internal": {dbAddress}, "mail.example.com": {webAddress}, "liar.example.com": {metaAddress},
	})
	own := newCertificate(t, "web.example.com", "six.example.com")
	ca := string(own.certificate)
	serveWeb(t, w, own)
	serveGRPC(t, w, spec, own)
	servePostgres(t, w)
	serveRedis(t, w)
	go serveMail(w.Listen(webAddress + ":25"))
	touched := make(chan string, 100)
	for _, address := range []string{metaAddress + ":443", "[" + otherSix + "]:443", dbAddress + ":443", webAddress + ":80"} {
		go bait(w.Listen(address), touched)
	}
	private, err := egress.ParseRules("10.9.8.0/24:5432, cache.internal:6379")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, spec, egress.Config{
		Ceiling: &egress.Ceiling{Most: policy(t, "internet"), Private: private}, Resolver: names.Resolver(),
	})
	allowed := "web.example.com:443, web.example.com:50051, six.example.com:443, [" + sixAddress + "]:443, db.internal:5432, cache.internal:6379, mail.example.com:25, liar.example.com:443"
	notListed := func(what string) string {
		return "egress refused: " + what + " is not in the API's option egress; see docs/egress.md"
	}
	type use struct{ client, host, want, line string } // line: that the author reads of it
	for _, uses := range [][]use{
		{
			{"getaddrinfo", "web.example.com", "198.18.", ""},
			{"gethostbyaddr", "web.example.com", "web.example.com", ""},
			{"requests", "web.example.com", "web speaks to web.example.com", ""},
			{"httpx", "web.example.com", "web speaks", ""},
			{"aiohttp", "web.example.com", "web speaks", ""},
			{"requests", "six.example.com", "web speaks to six.example.com", ""},
			{"aiohttp", "six.example.com", "web speaks", ""},
			{"tls", sixAddress, "web speaks to six.example.com", ""}, // by its address, which the policy names
			{"asyncpg", "db.internal", "asyncpg speaks", ""},
			{"psycopg", "db.internal", "psycopg speaks", ""},
			{"redis", "cache.internal", "redis speaks", ""},
			{"smtplib", "mail.example.com", "mail is taken", ""},
			{"grpc", "web.example.com", "grpc speaks, <part 0> <part 1> <part 2>", ""},
		},
		// Of each program's refusals a dozen are told at once, and clients may try more than once.
		{
			{"getaddrinfo", "other.example.com", "raised gaierror", notListed("other.example.com")},
			{"requests", "other.example.com", "gaierror", notListed("other.example.com")},
			{"httpx", "other.example.com", "gaierror", notListed("other.example.com")},
			{"aiohttp", "other.example.com", "gaierror", notListed("other.example.com")},
			{"requests", webAddress, "ConnectionRefusedError", notListed(webAddress + ":443")},
			{"httpx", metaAddress, "ConnectionRefusedError", "egress refused: " + metaAddress + ":443 is never allowed (a cloud's metadata service)"},
			{"aiohttp", "liar.example.com", "ConnectionRefusedError", "egress refused: liar.example.com:443 has the address " + metaAddress + ", which is never allowed"},
		},
		{
			{"tls", otherSix, "ConnectionRefusedError", notListed("[" + otherSix + "]:443")},
			{"asyncpg", "cache.internal", "ConnectionRefusedError", notListed("cache.internal:5432")},
			{"psycopg", "10.9.8.8", "raised OperationalError", notListed("10.9.8.8:5432")}, // libpq words a reset in two ways, by when it comes
			{"smtplib", "web.example.com", "ConnectionRefusedError", notListed("web.example.com:25")},
			{"redis", "db.internal", "refused", notListed("db.internal:6379")},
		},
		{
			{"grpc", "six.example.com", "UNAVAILABLE", notListed("six.example.com:50051")},
			{"grpc", "other.example.com", "UNAVAILABLE", notListed("other.example.com")},
		},
	} {
		i := s.launch(t, clientsCode, allowed, map[string]string{"CA": ca})
		for _, c := range uses {
			t.Run(c.client+" "+c.host, func(t *testing.T) {
				a := get[answer](t, i, "/use", "client", c.client, "host", c.host)
				if !strings.Contains(a.Result, c.want) {
					t.Errorf("in %.3f s: %s, want %q", a.Seconds, a.Result, c.want)
				}
				if c.line != "" {
					s.line(t, c.line)
				}
			})
		}
	}
	select {
	case address := <-touched:
		t.Errorf("%s was reached", address)
	default:
	}
	r := s.manager.Egress("api_outside")
	if r.Connections < 8 || r.Refused < 8 || r.Received == 0 {
		t.Errorf("the report is %+v", r)
	}
	for _, d := range r.Destinations {
		t.Logf("%s: %+v", d.To, d.Tally)
	}
}

// certificate is one that signs itself, with its key, in PEM.
type certificate struct{ certificate, key []byte }

func newCertificate(t *testing.T, names ...string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

// serveWeb serves HTTPS on both addresses.
func serveWeb(t *testing.T, w *nettest.World, own certificate) {
	t.Helper()
	pair, err := tls.X509KeyPair(own.certificate, own.key)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "web speaks to %s", r.Host) }),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}},
		ReadHeaderTimeout: time.Minute,
	}
	for _, address := range []string{webAddress + ":443", "[" + sixAddress + "]:443"} {
		l := w.Listen(address)
		go func() { _ = srv.ServeTLS(l, "", "") }()
	}
	t.Cleanup(func() { _ = srv.Close() })
}

//go:embed grpcserver.py
var grpcServer string

// serveGRPC has a real gRPC server, which is grpcio's own, over TLS at port 50051.
func serveGRPC(t *testing.T, w *nettest.World, spec sandbox.Spec, own certificate) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string][]byte{"server.py": []byte(grpcServer), "certificate": own.certificate, "key": own.key} {
		if err := os.WriteFile(dir+"/"+name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(spec.Environment+"/bin/python", "-B", dir+"/server.py", webAddress+":50051", dir+"/certificate", dir+"/key")
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.Start(cmd)
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "serves\n" {
		t.Fatalf("the gRPC server says %q: %v", line, err)
	}
}

// servePostgres has a real PostgreSQL, on a socket as always in tests, behind an address of the world.
func servePostgres(t *testing.T, w *nettest.World) {
	t.Helper()
	cluster := pgtest.New(t)
	go forward(w.Listen(dbAddress+":5432"), "unix", fmt.Sprintf("%s/.s.PGSQL.%d", cluster.Dir(), cluster.Port()))
}

func serveRedis(t *testing.T, w *nettest.World) {
	t.Helper()
	socket := t.TempDir() + "/redis"
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	w.Start(cmd)
	go forward(w.Listen(dbAddress+":6379"), "unix", socket)
}

// forward passes connections on. The server behind may still be starting.
func forward(l net.Listener, network, address string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var server net.Conn
			for range 500 {
				if server, err = net.Dial(network, address); err == nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			if err != nil {
				return
			}
			defer server.Close()
			go func() { _, _ = io.Copy(server, conn) }()
			_, _ = io.Copy(conn, server)
		}()
	}
}

// serveMail takes mail as RFC 5321 says, without looking at it.
func serveMail(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			lines := bufio.NewScanner(conn)
			fmt.Fprint(conn, "220 mail.example.com\r\n")
			data := false
			for lines.Scan() {
				switch line := strings.ToUpper(lines.Text()); {
				case data && line == ".":
					data = false
					fmt.Fprint(conn, "250 taken\r\n")
				case data:
				case line == "DATA":
					data = true
					fmt.Fprint(conn, "354 go on\r\n")
				case line == "QUIT":
					fmt.Fprint(conn, "221 bye\r\n")
					return
				default:
					fmt.Fprint(conn, "250 ok\r\n")
				}
			}
		}()
	}
}
