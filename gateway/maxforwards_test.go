package gateway

import (
	"bufio"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"apibuilder/store"
)

const withKey = "X-API-Key: " + testKey + "\r\n"

func TestMaxForwards(t *testing.T) {
	d := newRawDoor(t, Config{}, echoHead)
	huge := strings.Repeat("9", 100)
	for _, c := range []struct {
		method, send string
		want         []string // what the program gets
	}{
		{"OPTIONS", "Max-Forwards: 1\r\n", []string{"0"}},
		{"OPTIONS", "max-forwards:  10 \r\n", []string{"9"}},
		{"TRACE", "Max-Forwards: 007\r\n", []string{"6"}},
		{"OPTIONS", "Max-Forwards: 1000000\r\n", []string{"999999"}},
		{"OPTIONS", "Max-Forwards: 1000001\r\n", []string{"1000000"}},
		{"OPTIONS", "Max-Forwards: 18446744073709551616\r\n", []string{"1000000"}},
		{"TRACE", "Max-Forwards: " + huge + "\r\n", []string{"1000000"}},
		{"OPTIONS", "Max-Forwards: 5\r\nConnection: Max-Forwards\r\n", nil},
		{"OPTIONS", "", nil},
		{"GET", "Max-Forwards: 0\r\n", []string{"0"}},
		{"POST", "Max-Forwards: 5\r\nContent-Length: 0\r\n", []string{"5"}},
		{"DELETE", "Max-Forwards: " + huge + "\r\n", []string{huge}},
		{"options", "Max-Forwards: 0\r\n", []string{"0"}}, // methods are case-sensitive
		{"GET", "Max-Forwards: -1\r\nMax-Forwards: x\r\n", []string{"-1", "x"}},
	} {
		conn := d.dial()
		conn.send("%s /run/private/ HTTP/1.1\r\nHost: h\r\n%s%s\r\n", c.method, withKey, c.send)
		got := conn.answer(c.method)
		if values := fieldsOf(got.text, "Max-Forwards"); got.StatusCode != 200 || !slices.Equal(values, c.want) {
			t.Errorf("%s with %.80q: status %d, the program got %q, want %q", c.method, c.send, got.StatusCode, values, c.want)
		}
	}
}

// TestTheLastToForward answers at the gateway, and as other requests are answered: for who has a key, counted, and with nothing started.
func TestTheLastToForward(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, _ *bufio.Reader) {
		t.Error("the program was called")
		_ = conn.Close()
	})
	conn := d.dial()
	for range 2 { // on a connection that stays, although there is a body
		conn.send("OPTIONS /run/private/a HTTP/1.1\r\nHost: h\r\n%sMax-Forwards: 0\r\nContent-Length: 3\r\n\r\nabc", withKey)
		got := conn.answer("OPTIONS")
		if got.StatusCode != 204 || got.text != "" || got.Header.Get("X-Request-Id") == "" || got.Header["Allow"] != nil || got.Close {
			t.Errorf("OPTIONS: status %d, %v, %q", got.StatusCode, got.Header, got.text)
		}
		if u := d.record(); u.Status != 204 || u.Method != "OPTIONS" || u.Path != "/a" || u.KeyID != "key_1" || u.Error != "" || u.StartWait != 0 {
			t.Errorf("record %+v", u)
		}
	}
	d.at("a", "TRACE /run/private/", withKey+"Max-Forwards: 000\r\n").wantProblem(t, 501, wordMethodNotSupported)
	d.at("a", "OPTIONS /run/private/", "Max-Forwards: 0\r\n").wantProblem(t, 401, wordMissingKey)
	d.at("a", "OPTIONS /run/new/", "Max-Forwards: 0\r\n").wantProblem(t, 502, wordNotDeployed)
	for _, method := range []string{"OPTIONS", "TRACE"} {
		for _, wrong := range []string{"-1", "+1", "1.0", "0x1", "1, 2", "1 2", "x", "", "\u0661", "1\r\nMax-Forwards: 1"} {
			d.at("a", method+" /run/private/", withKey+"Max-Forwards: "+wrong+"\r\n").wantProblem(t, 400, wordBadMaxForwards)
		}
	}
	s := d.second()
	s.open(1, true, http.MethodOptions, "max-forwards", "0")
	if status := s.status(1); status != "204" {
		t.Errorf("HTTP/2: status %s", status)
	}
	limitAPI(d, "api_private", 1)
	for i, status := range []int{204, 429} {
		if got := d.at("a", "OPTIONS /run/private/", withKey+"Max-Forwards: 0\r\n"); got.StatusCode != status || got.Header.Get("RateLimit") == "" {
			t.Errorf("request %d of a limit of one: status %d, %v", i+1, got.StatusCode, got.Header)
		}
	}
}

// TestMaxForwardsOfAPreflight: the answer to a page's question is the gateway's own where the API's options say so, and is the same.
func TestMaxForwardsOfAPreflight(t *testing.T) {
	d := corsDoor(t, func(o *store.Options) { o.CORSOrigins = []string{friend} })
	for _, n := range []string{"0", "1", "x"} {
		got := d.at("a", "OPTIONS /run/private/", "Max-Forwards: "+n+"\r\nOrigin: "+friend+"\r\n"+asksPost)
		if got.StatusCode != 204 {
			t.Errorf("%s: status %d", n, got.StatusCode)
		}
		wantFields(t, got, map[string]string{"Access-Control-Allow-Origin": friend, "Access-Control-Allow-Methods": "POST"})
	}
	got := d.at("a", "OPTIONS /run/private/", withKey+"Max-Forwards: 0\r\nOrigin: "+friend+"\r\n")
	if got.StatusCode != 204 {
		t.Errorf("no preflight: status %d", got.StatusCode)
	}
	wantFields(t, got, map[string]string{"Access-Control-Allow-Origin": friend, "Access-Control-Allow-Methods": ""})
}

func FuzzMaxForwards(f *testing.F) {
	for _, text := range []string{"0", "00", "1", "1000000", "1000001", "99999999999999999999", "-1", "", "1 "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := parseForwards(text)
		if digits := text != "" && strings.Trim(text, "0123456789") == ""; ok != digits {
			t.Fatalf("%q: %v", text, ok)
		}
		if !ok {
			return
		}
		exact, _ := new(big.Int).SetString(text, 10)
		if exact.Cmp(big.NewInt(mostForwards)) > 0 {
			exact.SetInt64(mostForwards + 1)
		}
		if fmt.Sprint(n) != exact.String() {
			t.Fatalf("%q is %d, want %v", text, n, exact)
		}
	})
}
