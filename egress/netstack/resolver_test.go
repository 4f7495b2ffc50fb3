package netstack_test

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"apibuilder/egress"
	"apibuilder/egress/netns"
	"apibuilder/internal/nettest"
)

// TestNameServersThatAreAway has programs find names by the host's third name server while those before say nothing, and wait for a slow one
// where there is no other.
func TestNameServersThatAreAway(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	w := nettest.NewWorld(t, "93.184.216.34/32", "9.9.9.9/32", "8.8.4.4/32", "8.8.8.8/32")
	go nettest.Echo(w.Listen("93.184.216.34:443"))
	for _, silent := range []string{"8.8.4.4:53", "8.8.8.8:53"} {
		w.ListenPacket(silent)
	}
	names := nettest.NewNames(w, "9.9.9.9:53", map[string][]string{"a.example.com": {"93.184.216.34"}})
	cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}}
	for _, c := range []struct {
		name    string
		servers []string
		slow    time.Duration
	}{
		{"a slow one", []string{"9.9.9.9"}, 3 * time.Second}, // twice, after which a change of the servers is looked for
		{"the third", []string{"8.8.4.4", "8.8.8.8", "9.9.9.9"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			nettest.NameServers(t, c.servers...)
			names.Delay(c.slow)
			in := enter(t, cfg, "internet")
			began := time.Now()
			found, err := in.resolver().LookupHost(t.Context(), "a.example.com.")
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			t.Logf("found after %v", time.Since(began))
			ping(t, mustConnect(t, in, found[0]))
		})
	}
}

// TestQuestions has a program ask the resolver for all kinds of records, and by TCP.
func TestQuestions(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	w := nettest.NewWorld(t, "9.9.9.9/32")
	names := nettest.NewNames(w, "9.9.9.9:53", map[string][]string{
		"a.example.com": {"93.184.216.34", "2606:2800::1"}, "six.example.com": {"2606:2800::1"}, "other.example.org": {"2606:2800::1"},
		"_mongodb._tcp.db.example.com": {"93.184.216.34"},
	})
	in := enter(t, egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}, Resolver: names.Resolver()}, "*.example.com:443")
	const (
		fine   = dnsmessage.RCodeSuccess
		nobody = dnsmessage.RCodeNameError
	)
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string // of the one answer; empty: there is none
	}{
		{"a.example.com.", dnsmessage.TypeA, fine, "198.18.1.0"},
		{"A.Example.COM.", dnsmessage.TypeA, fine, "198.18.1.0"},
		{"six.example.com.", dnsmessage.TypeA, fine, "198.18.1.1"},
		{"nowhere.example.com.", dnsmessage.TypeA, nobody, ""},
		{"a.example.com.", dnsmessage.TypeAAAA, fine, ""},
		{"six.example.com.", dnsmessage.TypeAAAA, fine, ""},
		{"a.example.com.", dnsmessage.TypeMX, fine, ""},
		{"a.example.com.", dnsmessage.TypeTXT, fine, ""},
		{"a.example.com.", dnsmessage.TypeALL, fine, ""},
		{"_mongodb._tcp.db.example.com.", dnsmessage.TypeSRV, fine, ""},
		{"other.example.org.", dnsmessage.TypeAAAA, nobody, ""},
		{"_mongodb._tcp.db.example.org.", dnsmessage.TypeSRV, nobody, ""},
		{"0.1.18.198.in-addr.arpa.", dnsmessage.TypePTR, fine, "a.example.com."},
		{"1.1.18.198.in-addr.arpa.", dnsmessage.TypePTR, fine, "six.example.com."},
		{"9.1.18.198.in-addr.arpa.", dnsmessage.TypePTR, nobody, ""},
		{"34.216.184.93.in-addr.arpa.", dnsmessage.TypePTR, nobody, ""},
	} {
		code, got := in.ask(c.name, c.kind)
		if code != c.code || (c.want == "") != (len(got) == 0) || c.want != "" && (len(got) != 1 || got[0] != c.want) {
			t.Errorf("%s %s: %s with %q, want %s with %q", c.name, c.kind, code, got, c.code, c.want)
		}
	}
	if r := in.gate.Report("api"); r.Refused != 0 {
		t.Errorf("who asks for other records is told of %d refusals", r.Refused)
	}
	if _, got := in.ask("other.example.org.", dnsmessage.TypeA); len(got) != 0 {
		t.Errorf("a name that is not listed has %q", got)
	}
	in.line("egress refused: other.example.org is not in the API's option egress")
	own := netns.Outside.String()
	if _, err := in.connect(own, 53); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the resolver by TCP: %v", err)
	}
	in.line("egress refused: " + own + ":53 by TCP; names are looked up by UDP")
}

// ask puts one question to the resolver inside, and returns what it answers: addresses and names.
func (in *inside) ask(name string, kind dnsmessage.Type) (code dnsmessage.RCode, found []string) {
	in.t.Helper()
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	out, err := q.Pack()
	if err != nil {
		in.t.Fatal(err)
	}
	b := make([]byte, 4096)
	var size int
	in.do(func() {
		var conn net.Conn
		if conn, err = net.Dial("udp", hostPort(netns.Outside.String(), 53)); err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err = conn.Write(out); err == nil {
			size, err = conn.Read(b)
		}
	})
	var m dnsmessage.Message
	if err == nil {
		err = m.Unpack(b[:size])
	}
	if err != nil || m.ID != 7 || !m.Response || m.Truncated {
		in.t.Fatalf("%s %s: %+v, %v", name, kind, m, err)
	}
	for _, a := range m.Answers {
		switch body := a.Body.(type) {
		case *dnsmessage.AResource:
			found = append(found, net.IP(body.A[:]).String())
		case *dnsmessage.PTRResource:
			found = append(found, body.PTR.String())
		default:
			found = append(found, fmt.Sprintf("%v", a))
		}
	}
	return m.RCode, found
}
