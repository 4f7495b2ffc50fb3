package endtoend

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	mirrorRounds = flag.Int("mirror", 500, "how many random exchanges TestTheGatewayIsInvisible compares")
	mirrorSeed   = flag.Uint64("mirror-seed", 0, "where its random numbers begin; 0: anywhere")
)

type field struct{ name, value string }

// mirrored is an exchange that is had several times.
type mirrored struct {
	method, target, version string
	fields                  []field
	framing                 string // "", "sized" or "chunked"
	body                    []byte
	cuts                    []int // how it is written
	plan                    mirrorPlan
}

// mirrorPlan is what testdata/apis/mirror does with a request.
type mirrorPlan struct {
	Status  int         `json:"status"`
	Headers [][2]string `json:"headers"`
	Pieces  []int       `json:"pieces"` // of the body, in bytes; -1: a pause
}

// mirrorReply is what came back.
type mirrorReply struct {
	status  int
	fields  []field // without those that come from a server, and are not the program's
	body    []byte
	framing string
	goesOn  bool // another request may follow
	seen    mirrorSeen
	err     error
}

// mirrorSeen is what the program was asked.
type mirrorSeen struct {
	Method, Path, Query, Body string
	RawPath                   string `json:"raw_path"`
	RootPath                  string `json:"root_path"`
	Headers                   [][2]string
	Size                      int
}

func (m *mirrored) planText() string {
	plan, err := json.Marshal(m.plan)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(plan)
}

func (m *mirrored) text(prefix string, more ...field) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s%s HTTP/%s\r\n", m.method, prefix, m.target, m.version)
	for _, f := range slices.Concat([]field{{"Host", " h"}, {"X-Plan", m.planText()}}, more, m.fields) {
		fmt.Fprintf(&b, "%s:%s\r\n", f.name, f.value)
	}
	switch m.framing {
	case "sized":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.body), m.body)
	case "chunked":
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for piece := range slices.Chunk(m.body, max(1, len(m.body)/3)) {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(piece), piece)
		}
		b.WriteString("0\r\n\r\n")
	default:
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// sendInPieces sends a request, or several, until sent.
func sendInPieces(conn net.Conn, text []byte, cuts []int) (sent chan struct{}) {
	sent = make(chan struct{})
	go func() {
		defer close(sent)
		for _, cut := range cuts {
			cut = min(cut, len(text))
			_, _ = conn.Write(text[:cut])
			text = text[cut:]
			time.Sleep(200 * time.Microsecond) // so that they come one by one
		}
		_, _ = conn.Write(text)
	}()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return sent
}

// read reads an answer by HTTP/1.
func (p *mirrorReply) read(r *bufio.Reader, m *mirrored) {
	line, err := r.ReadString('\n')
	words := strings.SplitN(strings.TrimSuffix(line, "\r\n"), " ", 3)
	if err == nil && len(words) < 2 {
		err = fmt.Errorf("the answer begins %q", line)
	}
	if err == nil {
		p.status, err = strconv.Atoi(words[1])
	}
	if err != nil {
		p.err = err
		return
	}
	keep, length := "", int64(-1)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			p.err = err
			return
		}
		if line == "\r\n" {
			break
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ":")
		value = strings.Trim(value, " \t")
		switch name = strings.ToLower(name); name {
		case "content-length":
			length, err = strconv.ParseInt(value, 10, 64)
			p.err = errors.Join(p.err, err)
		case "connection":
			keep = value
		}
		p.field(name, value)
	}
	p.goesOn = m.version == "1.1" && !strings.EqualFold(keep, "close") || strings.EqualFold(keep, "keep-alive")
	switch {
	case m.method == http.MethodHead, p.status == http.StatusNoContent, p.status == http.StatusNotModified:
	case strings.HasSuffix(p.framing, "chunked"):
		p.body, err = readChunks(r)
		p.err = errors.Join(p.err, err)
	case length >= 0:
		p.body = make([]byte, length)
		_, err := io.ReadFull(r, p.body)
		p.err = errors.Join(p.err, err)
	default:
		p.goesOn = false
		p.body, err = io.ReadAll(r)
		p.err = errors.Join(p.err, err)
	}
}

func (p *mirrorReply) field(name, value string) {
	switch name {
	case "content-length":
		p.framing += value
	case "transfer-encoding":
		p.framing += value
	case "x-seen":
		text, err := base64.StdEncoding.DecodeString(value)
		p.err = errors.Join(p.err, err, json.Unmarshal(text, &p.seen))
	case "connection", "x-request-id", "x-content-type-options", "x-apibuilder-user-content", "content-security-policy":
	case "date":
		if value == "then" { // the program's
			p.fields = append(p.fields, field{name, value})
		}
	default:
		p.fields = append(p.fields, field{name, value})
	}
}

func readChunks(r *bufio.Reader) (all []byte, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 20)
		if err != nil {
			return nil, err
		}
		piece := make([]byte, size+2)
		if _, err := io.ReadFull(r, piece); err != nil {
			return nil, err
		}
		all = append(all, piece[:size]...)
		if size == 0 {
			return all, nil
		}
	}
}

// differences are between what should have come and what has.
func (p *mirrorReply) differences(got *mirrorReply) (all []string) {
	differ := func(what string, want, got any) {
		if w, g := fmt.Sprintf("%q", want), fmt.Sprintf("%q", got); w != g {
			all = append(all, fmt.Sprintf("%s: want %.500s, got %.500s", what, w, g))
		}
	}
	differ("error", fmt.Sprint(p.err), fmt.Sprint(got.err))
	differ("status", p.status, got.status)
	if p.seen.Method == "" && got.seen.Method == "" { // no program has answered
		return all
	}
	differ("framing", p.framing, got.framing)
	differ("body", p.body, got.body)
	differ("method", p.seen.Method, got.seen.Method)
	differ("path", p.seen.Path, got.seen.Path)
	differ("raw path", p.seen.RawPath, got.seen.RawPath)
	differ("root path", p.seen.RootPath, got.seen.RootPath)
	differ("query", p.seen.Query, got.seen.Query)
	differ("size of the body that came", p.seen.Size, got.seen.Size)
	differ("sum of the body that came", p.seen.Body, got.seen.Body)
	of := func(r *mirrorReply) map[string][]string {
		fields := map[string][]string{}
		for _, f := range r.fields {
			fields["field of the answer "+f.name] = append(fields["field of the answer "+f.name], f.value)
		}
		for _, h := range r.seen.Headers {
			switch h[0] {
			case "x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto", "forwarded", "via", "x-request-id":
			default:
				fields["field of the request "+h[0]] = append(fields["field of the request "+h[0]], h[1])
			}
		}
		return fields
	}
	wants, gots := of(p), of(got)
	for name, want := range wants {
		differ(name, want, gots[name])
		delete(gots, name)
	}
	for name, values := range gots {
		differ(name, []string(nil), values)
	}
	return all
}

// TestTheGatewayIsInvisible has random exchanges three times: with a program's uvicorn itself, on its socket, and through the gateway by HTTP/1 and by HTTP/2.
func TestTheGatewayIsInvisible(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("mirror", sample(t, "mirror/app.py"), sample(t, "wire/requirements.txt"))
	d.get(t, "/")
	program := &mirrorEnd{network: "unix", address: programSocket(t, s)}
	first := &mirrorEnd{network: "tcp", address: strings.TrimPrefix(s.url, "http://"), keeps: true}
	second := overHTTP2(t)
	second.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	second.Transport.(*http.Transport).DisableCompression = true
	seed := *mirrorSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	c := chance{rand.New(rand.NewPCG(seed, 0))}
	prefix := d.path(t)
	for i := range *mirrorRounds {
		group := c.group()
		var wants []mirrorReply
		for _, m := range group { // uvicorn answers several at once with a 400 now and then
			wants = append(wants, program.have(nil, "", m)...)
		}
		gots := first.have([]field{{"X-API-Key", " " + d.Key}}, prefix, group...)
		for j, m := range group {
			want, got := &wants[j], &gots[j]
			m.expect(want, prefix)
			diffs := want.differences(got)
			refused := got.status == http.StatusBadRequest && !got.goesOn
			if m.version == "1.1" && !refused && !got.goesOn {
				diffs = append(diffs, "the connection ended")
			}
			if m.version == "1.1" {
				m.expectHTTP2(want)
				got := m.haveHTTP2(second, s.url+prefix, d.Key)
				for _, diff := range want.differences(&got) {
					diffs = append(diffs, "HTTP/2: "+diff)
				}
			}
			if len(diffs) > 0 {
				t.Fatalf("exchange %d of -mirror-seed %d, %d of %d:\n%s\nplan: %v\n%.3000q", i, seed, j, len(group), strings.Join(diffs, "\n"), m.plan, m.text(""))
			}
			if refused { // which nothing follows
				break
			}
		}
	}
}

// mirrorEnd is who is asked.
type mirrorEnd struct {
	network, address string
	keeps            bool // one connection as long as it goes on
	conn             net.Conn
	r                *bufio.Reader
}

// have has exchanges, all of whose requests are sent before the first answer is read.
func (e *mirrorEnd) have(more []field, prefix string, all ...*mirrored) (replies []mirrorReply) {
	replies = make([]mirrorReply, len(all))
	if e.conn == nil {
		conn, err := net.Dial(e.network, e.address)
		if err != nil {
			replies[0].err = err
			return replies
		}
		e.conn, e.r = conn, bufio.NewReader(conn)
	}
	var text []byte
	for _, m := range all {
		text = append(text, m.text(prefix, more...)...)
	}
	sent := sendInPieces(e.conn, text, all[0].cuts)
	goesOn := e.keeps
	for i, m := range all {
		replies[i].read(e.r, m)
		goesOn = goesOn && replies[i].err == nil && replies[i].goesOn
	}
	<-sent
	if !goesOn {
		_ = e.conn.Close()
		e.conn = nil
	}
	return replies
}

// programSocket is where the server of the API that was called listens itself.
func programSocket(t *testing.T, s *server) string {
	t.Helper()
	sockets, err := filepath.Glob(filepath.Join(s.dataDir, "run", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sockets {
		conn, err := net.Dial("unix", path)
		if err != nil {
			continue
		}
		ask := &mirrored{method: "GET", version: "1.1", target: "/"}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // a spare sandbox, which has no program, does not answer
		var reply mirrorReply
		if _, err := conn.Write(ask.text("")); err == nil {
			reply.read(bufio.NewReader(conn), ask)
		}
		_ = conn.Close()
		if reply.seen.Method == "GET" {
			return path
		}
	}
	t.Fatalf("the program is at none of %q", sockets)
	return ""
}

// badEscape finds in a path what is no escape, and could be read in two ways.
var badEscape = regexp.MustCompile(`^[^?]*%([^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)`)

// expect makes of what the program's server answers what the gateway should.
func (m *mirrored) expect(r *mirrorReply, prefix string) {
	if badEscape.MatchString(m.target) {
		*r = mirrorReply{status: http.StatusBadRequest}
	}
	if r.seen.Method == "" {
		return
	}
	trailers := false
	r.seen.Headers = slices.DeleteFunc(r.seen.Headers, func(h [2]string) bool {
		switch h[0] {
		case "connection", "keep-alive", "proxy-authorization": // of this connection
			return true
		case "te": // is this connection's, and one as good as several
			defer func() { trailers = true }()
			return trailers
		}
		return false
	})
	for i, h := range r.seen.Headers {
		r.seen.Headers[i][1] = strings.Trim(h[1], " \t") // RFC 9110, 5.5
	}
	r.fields = slices.DeleteFunc(r.fields, func(f field) bool {
		switch f.name {
		case "keep-alive", // as above
			"x-apibuilder-use",                     // is for the gateway
			"alt-svc", "strict-transport-security": // are about the origin
			return true
		}
		return false
	})
	for i := range r.fields {
		switch f := &r.fields[i]; f.name {
		case "set-cookie":
			f.value += "; Path=" + prefix + "/"
		case "www-authenticate":
			f.value = `Basic realm="` + prefix + `"`
		}
	}
	if m.version == "1.0" && r.framing == "chunked" {
		r.framing = ""
	}
}

// expectHTTP2 makes of that what a consumer with HTTP/2 should get.
func (m *mirrored) expectHTTP2(r *mirrorReply) {
	var cookies []string
	r.seen.Headers = slices.DeleteFunc(r.seen.Headers, func(h [2]string) bool {
		if h[0] == "cookie" {
			cookies = append(cookies, h[1])
		}
		return h[0] == "cookie" || isFraming(h)
	})
	if cookies != nil { // RFC 9113, 8.2.3
		r.seen.Headers = append(r.seen.Headers, [2]string{"cookie", strings.Join(cookies, "; ")})
	}
	r.framing = strings.ReplaceAll(r.framing, "chunked", "")
}

// isFraming knows fields of which HTTP/2 does not need the one, and has no other.
func isFraming(h [2]string) bool { return h[0] == "content-length" || h[0] == "transfer-encoding" }

// haveHTTP2 has the exchange by a connection on which there are others.
func (m *mirrored) haveHTTP2(client *http.Client, base, key string) (reply mirrorReply) {
	u, err := url.Parse(base)
	if err != nil {
		return mirrorReply{err: err}
	}
	u.Opaque = u.Path + m.target
	r := &http.Request{Method: m.method, URL: u, Host: "h", Header: http.Header{"X-Api-Key": {key}, "User-Agent": nil, "X-Plan": {m.planText()}}}
	for _, f := range m.fields {
		switch f.name {
		case "Connection", "Keep-Alive": // has none
			continue
		case "TE": // may say this, once
			delete(r.Header, "te")
		}
		name := strings.ToLower(f.name)
		r.Header[name] = append(r.Header[name], strings.Trim(f.value, " \t"))
	}
	switch m.framing {
	case "sized":
		r.ContentLength, r.Body = int64(len(m.body)), io.NopCloser(bytes.NewReader(m.body))
	case "chunked":
		r.ContentLength, r.Body = -1, io.NopCloser(bytes.NewReader(m.body))
	}
	res, err := client.Do(r)
	if err != nil {
		return mirrorReply{err: err}
	}
	defer res.Body.Close()
	reply.status = res.StatusCode
	for name, values := range res.Header {
		for _, value := range values {
			reply.field(strings.ToLower(name), value)
		}
	}
	body, err := io.ReadAll(res.Body)
	reply.body, reply.err = body, errors.Join(reply.err, err)
	reply.seen.Headers = slices.DeleteFunc(reply.seen.Headers, isFraming)
	return reply
}
