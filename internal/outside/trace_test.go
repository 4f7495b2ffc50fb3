package outside

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

const traceCode = changeCode + `
@app.get("/devices")
def devices(now: bool):
    with open("/proc/net/dev") as f:
        return sorted(line.split(":")[0].strip() for line in f if ":" in line)
`

// TestNoTrace compares the host before programs have a network, while they use it, and after: its devices, addresses, routes, rules of
// routing and of the firewall, settings and named network namespaces. A program that may reach nothing has none of what makes a network.
func TestNoTrace(t *testing.T) {
	var spec sandbox.Spec
	if !nettest.Isolated(t, &spec, func() { spec = testenv.Spec(t, "", "") }) {
		return
	}
	w := nettest.NewWorld(t, webAddress+"/32", sixAddress+"/128", nameAddress+"/32")
	names := nettest.NewNames(w, nameAddress+":53", map[string][]string{"web.example.com": {webAddress}, "six.example.com": {sixAddress}})
	go nettest.Echo(w.Listen(webAddress + ":443"))
	go nettest.Echo(w.Listen("[" + sixAddress + "]:443"))
	s := newServer(t, spec, egress.Config{Ceiling: &egress.Ceiling{Most: policy(t, "internet")}, Resolver: names.Resolver()})
	settled(t)
	before := traces(t)
	if len(before) < 100 {
		t.Fatalf("only %d things are known of the host", len(before))
	}

	alone := s.launch(t, traceCode, "none", nil)
	if found := get[[]string](t, alone, "/devices", "now", "true"); !slices.Equal(found, []string{"lo"}) {
		t.Errorf("a program that may reach nothing has the devices %v", found)
	}
	if devices, spaces := networkFiles(t); devices+spaces > 0 {
		t.Errorf("for a program that may reach nothing, %d devices and %d namespaces are open", devices, spaces)
	}

	i := s.launch(t, traceCode, "internet", nil)
	for _, host := range []string{"web.example.com", "six.example.com"} {
		if came := get[string](t, i, "/hold", "host", host); came != "held" {
			t.Fatalf("%s: %s", host, came)
		}
	}
	if found := get[[]string](t, i, "/devices", "now", "true"); !slices.Equal(found, []string{"lo", "tun0"}) {
		t.Errorf("a program with a network has the devices %v", found)
	}
	if devices, _ := networkFiles(t); devices != 1 {
		t.Errorf("for one program with a network, %d devices are open", devices)
	}
	same(t, "while a program uses its network", before, traces(t))

	i.Stop(t.Context(), time.Second)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		devices, spaces := networkFiles(t)
		if devices+spaces == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d devices and %d namespaces are open after the program has ended", devices, spaces)
		}
	}
	same(t, "after it", before, traces(t))

	// What is compared would show it.
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "trace0"}, PeerName: "trace1"}); err != nil {
		t.Fatal(err)
	}
	if maps.Equal(before, traces(t)) {
		t.Error("a new device is not seen")
	}
}

// settled waits until the test's own devices have the link-local addresses, and their routes, that the kernel gives them by itself.
func settled(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		all, err := netlink.AddrList(nil, netlink.FAMILY_V6)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(all, func(a netlink.Addr) bool { return a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 }) {
			return
		}
	}
	t.Fatal("the test's host has no link-local address")
}

func same(t *testing.T, when string, before, now map[string]string) {
	t.Helper()
	for what, was := range before {
		if is, ok := now[what]; is != was || !ok {
			t.Errorf("%s, %s is %q, and was %q", when, what, is, was)
		}
	}
	for what, is := range now {
		if _, ok := before[what]; !ok {
			t.Errorf("%s there is %s: %s", when, what, is)
		}
	}
}

// traces are what of the host a network of sandboxes could change, by names.
func traces(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	links, err := netlink.LinkList()
	must(err)
	for _, l := range links {
		a := l.Attrs()
		all["device "+a.Name] = fmt.Sprint(l.Type(), a.Index, a.Flags, a.MTU, a.MasterIndex)
		addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		must(err)
		for _, address := range addresses {
			all["address "+address.IPNet.String()+" of "+a.Name] = "there"
		}
	}
	// Routes of every table, without those that the kernel remembers of single connections.
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	must(err)
	for _, r := range routes {
		if r.Flags&unix.RTM_F_CLONED == 0 {
			all["route "+r.String()] = "there"
		}
	}
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	must(err)
	for _, r := range rules {
		all["rule "+r.String()] = "there"
	}
	tables, err := firewall()
	all["nftables"] = fmt.Sprintf("%x %v", tables, err)
	for _, name := range []string{"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names", "/proc/net/arp_tables_names"} {
		text, _ := os.ReadFile(name)
		all[name] = string(text)
	}
	must(settings(all))
	spaces, err := os.ReadDir("/run/netns")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	all["named namespaces"] = fmt.Sprint(spaces)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(err)
	all["namespaces that are kept by a mount"] = fmt.Sprint(strings.Count(string(mounts), " - nsfs "))
	return all
}

// firewall lists the tables of nftables: NFT_MSG_GETTABLE of linux/netfilter/nf_tables.h, for all families. An error says that
// the kernel has no nftables.
func firewall() ([][]byte, error) {
	const getTable = 1
	r := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|getTable, unix.NLM_F_DUMP)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	return r.Execute(unix.NETLINK_NETFILTER, 0)
}

// settings adds all of sysctl that is about networks, but for what counts.
func settings(all map[string]string) error {
	return filepath.WalkDir("/proc/sys/net", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "nf_conntrack_count") {
			return err
		}
		if text, err := os.ReadFile(path); err == nil { // some can only be written
			all[path] = string(text)
		}
		return nil
	})
}

// networkFiles counts this process's descriptors of TUN devices and of network namespaces.
func networkFiles(t *testing.T) (devices, spaces int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch target, _ := os.Readlink("/proc/self/fd/" + e.Name()); {
		case target == "/dev/net/tun":
			devices++
		case strings.HasPrefix(target, "net:["):
			spaces++
		}
	}
	return devices, spaces
}
