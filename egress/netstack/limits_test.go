package netstack_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
)

// TestLimits has a program go over each limit of an operator, and read so.
func TestLimits(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	w := nettest.NewWorld(t, "93.184.216.34/32", "2606:2800::1/128", "9.9.9.9/32")
	w.Do(func() { // IPv6 says otherwise that there is no way to who is not there
		_, all, _ := net.ParseCIDR("2606:2800::/64")
		if err := netlink.RouteAdd(&netlink.Route{Dst: all, Type: unix.RTN_BLACKHOLE}); err != nil {
			t.Error(err)
		}
	})
	hosts := []string{"93.184.216.34", "2606:2800::1"}
	for _, host := range hosts {
		go nettest.Echo(w.Listen(hostPort(host, 443)))
	}
	names := nettest.NewNames(w, "9.9.9.9:53", map[string][]string{"a.example.com": {"93.184.216.34"}})
	limited := func(l egress.Limits) egress.Config {
		return egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}, Resolver: names.Resolver(), Limits: l}
	}
	for _, host := range hosts {
		t.Run("connections of "+host, func(t *testing.T) {
			in := enter(t, limited(egress.Limits{Connections: 2}), "internet")
			first, _ := open(t, in, host), open(t, in, host)
			if _, err := in.connect(host, 443); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a third: %v", err)
			}
			in.line("egress refused: " + hostPort(host, 443) + ": more than 2 connections at a time")
			_ = first.Close()
			for deadline := time.Now().Add(10 * time.Second); in.gate.Report("api").Open > 1; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("a closed connection keeps its place")
				}
			}
			open(t, in, host)
		})
		t.Run("one that nobody answers at "+host, func(t *testing.T) {
			in := enter(t, limited(egress.Limits{Connections: 3}), "internet")
			silent := strings.NewReplacer(".34", ".99", "::1", "::99").Replace(host)
			in.do(func() { // the program's system asks again after one second and after two, which are no others
				if conn, err := net.DialTimeout("tcp", hostPort(silent, 443), 2500*time.Millisecond); conn != nil || !os.IsTimeout(err) {
					t.Errorf("%s: %v", silent, err)
				}
			})
			open(t, in, host) // there is room for one more
		})
		t.Run("new ones of "+host, func(t *testing.T) {
			in := enter(t, limited(egress.Limits{PerSecond: 1}), "internet")
			var made, refused atomic.Int32
			var all sync.WaitGroup
			began := time.Now()
			for range 12 {
				all.Go(func() {
					conn, err := in.dialThere(hostPort(host, 443))
					if err == nil {
						made.Add(1)
						_ = conn.Close()
					} else if errors.Is(err, syscall.ECONNREFUSED) {
						refused.Add(1)
					}
				})
			}
			all.Wait()
			most := 2 + int32(time.Since(began).Seconds()+1)
			if made.Load() < 2 || made.Load() > most || made.Load()+refused.Load() != 12 {
				t.Errorf("%d were made of at most %d, %d refused", made.Load(), most, refused.Load())
			}
			in.line("egress refused: " + hostPort(host, 443) + ": more than 1 new connections in a second")
		})
	}
	t.Run("look-ups", func(t *testing.T) {
		in := enter(t, limited(egress.Limits{PerSecond: 1}), "internet")
		var found, later atomic.Int32
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				_, err := in.resolver().LookupNetIP(t.Context(), "ip4", "a.example.com.") // "ip" would tell what it was told of IPv6
				if dns, ok := errors.AsType[*net.DNSError](err); err == nil {
					found.Add(1)
				} else if ok && dns.IsTemporary && !dns.IsNotFound {
					later.Add(1)
				} else {
					t.Errorf("a look-up: %v", err)
				}
			})
		}
		all.Wait()
		if found.Load() < 3 || later.Load() == 0 || found.Load()+later.Load() != 40 { // two at once, and who waited
			t.Errorf("of 40 look-ups %d were answered, %d were told to come later", found.Load(), later.Load())
		}
		in.line("egress refused: a.example.com: more than 1 look-ups in a second")
	})
	for _, host := range hosts {
		t.Run("bandwidth of "+host, func(t *testing.T) {
			const each, perSecond = 3 << 20, 1 << 20
			in := enter(t, limited(egress.Limits{Bandwidth: perSecond}), "internet")
			conn := open(t, in, host)
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			began := time.Now()
			go func() {
				_, _ = io.WriteString(conn, strings.Repeat("x", each))
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
			n, err := io.Copy(io.Discard, conn)
			took := time.Since(began)
			if err != nil || n != each {
				t.Errorf("%d bytes of %d came back: %v", n, each, err)
			}
			if least := time.Duration(float64(each-1<<20) / perSecond * float64(time.Second)); took < least {
				t.Errorf("%d bytes each way took %v, at least %v are wanted", each, took, least)
			}
		})
		t.Run("datagrams that go nowhere, to "+host, func(t *testing.T) {
			in := enter(t, limited(egress.Limits{}), "internet")
			const perSecond, atOnce = 5000, 500
			began := time.Now()
			in.do(func() {
				conn, err := net.Dial("udp", hostPort(host, 9))
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				for time.Since(began) < 300*time.Millisecond {
					_, _ = conn.Write([]byte("x")) // it is told of those that were refused
				}
			})
			refused := in.gate.Report("api").Refused
			if most := atOnce + int64(1.2*perSecond*time.Since(began).Seconds()); refused < 10 || refused > most {
				t.Errorf("%d were looked at, at most %d are wanted", refused, most)
			}
		})
	}
}
