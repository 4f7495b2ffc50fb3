package outside

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

// TestRebinding has a name that is allowed change to addresses that never are, between two connections of a real client and beside an
// address that is public.
func TestRebinding(t *testing.T) {
	var spec sandbox.Spec
	if !nettest.Isolated(t, &spec, func() { spec = testenv.Spec(t, "requests\nhttpx\naiohttp\n", "") }) {
		return
	}
	const uniqueLocal = "fd00:9::7"
	w := nettest.NewWorld(t, webAddress+"/32", sixAddress+"/128", dbAddress+"/32", metaAddress+"/32", uniqueLocal+"/128", nameAddress+"/32")
	names := nettest.NewNames(w, nameAddress+":53", nil)
	own := newCertificate(t, "*.example.com")
	serveWeb(t, w, own)
	touched := make(chan string, 100)
	for _, address := range []string{metaAddress, dbAddress, uniqueLocal} {
		go bait(w.Listen(net.JoinHostPort(address, "443")), touched)
	}
	here, err := net.Listen("tcp", ":443") // all that this host has
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	go bait(here, touched)
	s := newServer(t, spec, egress.Config{
		Ceiling: &egress.Ceiling{Most: policy(t, "internet")}, Resolver: names.Resolver(), Limits: egress.Limits{PerSecond: 1000},
	})
	i := s.launch(t, clientsCode, "*.example.com:443", map[string]string{"CA": string(own.certificate)})

	var said atomic.Pointer[[]netip.Addr]
	names.Change(func(string, int) []netip.Addr { return *said.Load() })
	say := func(addresses ...string) {
		var list []netip.Addr
		for _, a := range addresses {
			list = append(list, netip.MustParseAddr(a))
		}
		said.Store(&list)
	}
	clients := []string{"requests", "httpx", "aiohttp"}
	for n, lie := range []string{metaAddress, dbAddress, uniqueLocal, "127.0.0.1", "::1", nettest.Host, nettest.Host6, "::ffff:" + metaAddress, "64:ff9b::a9fe:a9fe"} {
		client, host := clients[n%len(clients)], fmt.Sprintf("n%d.example.com", n)
		use := func() string {
			t.Helper()
			return get[answer](t, i, "/use", "client", client, "host", host).Result
		}
		say(webAddress)
		if came := use(); !strings.HasPrefix(came, "web speaks") {
			t.Errorf("%s, before %s changes: %s", client, host, came)
		}
		say(lie)
		if came := use(); !strings.Contains(came, "ConnectionRefusedError") {
			t.Errorf("%s, after %s has become %s: %s", client, host, lie, came)
		}
		s.line(t, host+":443 has the address "+netip.MustParseAddr(lie).Unmap().String()+", which is never allowed")
		say(lie, webAddress)
		if came := use(); !strings.HasPrefix(came, "web speaks") && !strings.Contains(came, "ConnectionRefusedError") {
			t.Errorf("%s, with %s beside the true one: %s", client, lie, came)
		}
		say(webAddress)
		if came := use(); !strings.HasPrefix(came, "web speaks") {
			t.Errorf("%s, after %s is itself again: %s", client, host, came)
		}
	}
	select {
	case address := <-touched:
		t.Errorf("%s was reached", address)
	default:
	}
}
