package egress

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"unicode"
)

// TestSums has a connection told of once, its bytes while it is open, and nothing where there was nothing.
func TestSums(t *testing.T) {
	l, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling, Resolver: book{"db.internal.": {loopback}}})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}()
	guard := gate.Guard()
	t.Cleanup(guard.Close)
	_ = guard.Lookup(t.Context(), "before.the.program")
	guard.Bind("api", mustParse(t, fmt.Sprintf("db.internal:%d", port)), gate.Turn(), nil)
	says := func(want string) {
		t.Helper()
		want = strings.ReplaceAll(want, "PORT", fmt.Sprint(port))
		if got := guard.Sums(); got != want {
			t.Errorf("it says %q, not %q", got, want)
		}
	}
	says("")
	conn, err := guard.Dial(t.Context(), Destination{Name: "db.internal", Port: port})
	if err != nil {
		t.Fatal(err)
	}
	echo := func(size int) {
		t.Helper()
		if _, err := conn.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	echo(3500)
	_ = guard.Lookup(t.Context(), "www.example.com")
	_, _ = guard.Dial(t.Context(), Destination{Addr: netip.MustParseAddr("10.0.0.1"), Port: 5432})
	_, _ = guard.Dial(t.Context(), Destination{Addr: netip.MustParseAddr("10.0.0.1"), Port: 5432})
	says("reached db.internal:PORT (1 connection, 3.4 KiB sent, 3.4 KiB received); refused 10.0.0.1:5432 (2 times), www.example.com (1 time)")
	says("")
	echo(1)
	says("reached db.internal:PORT (no new connection, 1 byte sent, 1 byte received)")
	echo(2)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	says("reached db.internal:PORT (no new connection, 2 bytes sent, 2 bytes received)")
	says("")
	if sent := gate.Report("api").Sent; sent != 3503 {
		t.Errorf("Report has %d bytes sent", sent)
	}
}

// TestSumsAreBounded has the busiest destinations named, as many as fit, and every one counted.
func TestSumsAreBounded(t *testing.T) {
	guard, _ := bind(t, NewGate(Config{}), "none")
	refuse := func(what string, times int) {
		for range times {
			guard.Refuse(&Refusal{Reason: NotListed, What: what})
		}
	}
	for i := range 30 {
		refuse(fmt.Sprintf("n%d.example", i), i+1)
	}
	guard.sums.opened("b.example:443")
	guard.sums.opened("a.example:443")
	text := guard.Sums()
	if !strings.HasPrefix(text, "reached a.example:443 (1 connection, 0 bytes sent, 0 bytes received), b.example:443 (1 ") ||
		!strings.Contains(text, "; refused n29.example (30 times), n28.example (29 times), ") ||
		!strings.HasSuffix(text, ", n10.example (11 times) and 10 more (55 times)") {
		t.Errorf("of many: %s", text)
	}

	for i := range 10 * mostDestinations {
		refuse(fmt.Sprintf("tried-%d", i), 1)
	}
	if text = guard.Sums(); !strings.HasSuffix(text, " and at least 45 more (620 times)") || strings.Contains(text, others) {
		t.Errorf("of very many: %s", text)
	}
	refuse("another", 1)
	if text = guard.Sums(); text != "refused another (1 time)" {
		t.Errorf("after them: %s", text)
	}

	long := strings.Repeat(strings.Repeat("a", 62)+".", 3)
	for i := range 30 {
		refuse(fmt.Sprintf("%s%063d:65535", long, i), 1)
		guard.sums.opened(fmt.Sprintf("%s%063d:65535", long, i))
	}
	if text = guard.Sums(); len(text) > 2*toldBytes+200 || strings.Count(text, " more (") != 2 {
		t.Errorf("of long names, %d bytes: %s", len(text), text)
	}
}

// TestSumsHoldNoLine has a program look up what is no name: none of it is told.
func TestSumsHoldNoLine(t *testing.T) {
	gate := NewGate(Config{Ceiling: &Ceiling{Most: mustParse(t, "internet")}})
	guard, _ := bind(t, gate, "none")
	for _, name := range []string{
		"x\negress: reached y", "x\x1b[2J.example", "x (3 times), y", "x;y", "x\u2028y", "\u202ey.example", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a", "",
	} {
		if err := guard.Lookup(t.Context(), name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	if text := guard.Sums(); text != "" {
		t.Errorf("it says %q", text)
	}
	_ = guard.Lookup(t.Context(), "WWW.Example.com.")
	if text := guard.Sums(); text != "refused www.example.com (1 time)" || strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("it says %q", text)
	}
}

func TestAmounts(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1024: "1.0 KiB", 3500: "3.4 KiB", 120 << 20: "120.0 MiB", 5 << 40: "5.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := amount(bytes); got != want {
			t.Errorf("%d is %q, not %q", bytes, got, want)
		}
	}
}
