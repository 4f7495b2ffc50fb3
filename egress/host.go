package egress

import (
	"context"
	"net"
	"os"
	"strings"
	"time"
)

// mostServers are those of resolv.conf(5) that are asked.
const mostServers = 3

// NewHostResolver asks this host's name servers. Where there are several, one that says nothing is waited for only so long that the
// others are asked as well, and the first once more, before a look-up has taken too long: a host does without a server that is away,
// though slowly, and programs shall too.
func NewHostResolver() *net.Resolver {
	var d net.Dialer
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		udp, ok := conn.(*net.UDPConn)
		if !ok {
			return conn, err
		}
		if servers := nameServers(); servers > 1 {
			return patient{udp, time.Now().Add(lookupTimeout / time.Duration(servers+1))}, nil
		}
		return udp, nil
	}}
}

// patient is a question to a name server that is waited for no longer than until.
type patient struct {
	*net.UDPConn
	until time.Time
}

// SetDeadline implements net.Conn.
func (p patient) SetDeadline(t time.Time) error {
	if t.IsZero() || t.After(p.until) {
		t = p.until
	}
	return p.UDPConn.SetDeadline(t)
}

// nameServers is how many the host asks. A file that cannot be read names none.
func nameServers() (n int) {
	text, _ := os.ReadFile("/etc/resolv.conf")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			n++
		}
	}
	return min(n, mostServers)
}
