package endtoend

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

func upload(t *testing.T, d deployed, name string, file []byte, fields map[string]string) answer {
	t.Helper()
	body := &bytes.Buffer{}
	form := multipart.NewWriter(body)
	part, err := form.CreateFormFile("file", name)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(file)
	for k, v := range fields {
		_ = form.WriteField(k, v)
	}
	_ = form.Close()
	return call(t, http.MethodPost, d.URL+"/resize", d.Key, body, "Content-Type", form.FormDataContentType())
}

func picture(w, h int, alpha uint8) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x), uint8(y), 128, alpha})
		}
	}
	return m
}

// bitmap is an uncompressed BMP of about 50 MB.
func bitmap() []byte {
	const side = 4096
	size := 54 + side*side*3
	b := make([]byte, size)
	copy(b, "BM")
	put := func(at, v int) { b[at], b[at+1], b[at+2], b[at+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24) }
	put(2, size)
	put(10, 54)
	put(14, 40)
	put(18, side)
	put(22, side)
	b[26], b[28] = 1, 24
	return b
}

func TestUploadsArriveWhole(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("resize", sample(t, "resize/app.py"), sample(t, "resize/requirements.txt"), "--memory", "512M")
	var jpg, transparent bytes.Buffer
	if err := jpeg.Encode(&jpg, picture(300, 200, 255), nil); err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(&transparent, picture(300, 200, 40)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		kind string
	}{
		"photo.jpg": {jpg.Bytes(), "image/jpeg"},
		"clear.png": {transparent.Bytes(), "image/png"},
		"large.bmp": {bitmap(), "image/bmp"},
	} {
		t.Run(name, func(t *testing.T) {
			a := upload(t, d, name, c.file, map[string]string{"width": "64", "height": "48"})
			if a.status != http.StatusOK {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			if got := a.header.Get("Content-Type"); got != c.kind {
				t.Errorf("content type %q, want %q", got, c.kind)
			}
			if got := a.header.Get("X-Uploaded-Bytes"); got != fmt.Sprint(len(c.file)) {
				t.Errorf("the program received %s bytes of %d", got, len(c.file))
			}
			sum := sha256.Sum256(a.body)
			if hex.EncodeToString(sum[:]) != a.header.Get("X-Sha256") {
				t.Error("these are not the bytes that the program made")
			}
			if c.kind == "image/bmp" {
				return // no decoder in Go's library
			}
			m, _, err := image.Decode(bytes.NewReader(a.body))
			if err != nil {
				t.Fatal(err)
			}
			if m.Bounds().Dx() != 64 || m.Bounds().Dy() != 48 {
				t.Errorf("size %v", m.Bounds())
			}
			if _, _, _, alpha := m.At(10, 10).RGBA(); c.kind == "image/png" && alpha>>8 != 40 {
				t.Errorf("transparency %d, want 40", alpha>>8)
			}
		})
	}
	t.Run("missing field", func(t *testing.T) {
		a := upload(t, d, "photo.jpg", jpg.Bytes(), map[string]string{"width": "64"})
		if a.status != http.StatusUnprocessableEntity || a.header.Get("Content-Type") != "application/json" ||
			!strings.Contains(string(a.body), `"height"`) {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	})
}

func TestTwoVersionsOfOnePackageServeAtOnce(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	old := s.deploy("old", sample(t, "pillow/app.py"), sample(t, "pillow/requirements-9.txt"), "--python", "3.11")
	young := s.deploy("young", sample(t, "pillow/app.py"), sample(t, "pillow/requirements-10.txt"), "--python", "3.11")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if got := string(old.get(t, "/").body); got != `{"pillow":"9.5.0"}` {
				t.Errorf("pillow==9.5.0 reports %s", got)
			}
		})
		wg.Go(func() {
			if got := string(young.get(t, "/").body); got != `{"pillow":"10.4.0"}` {
				t.Errorf("pillow==10.4.0 reports %s", got)
			}
		})
	}
	wg.Wait()
}

const hello = `
from fastapi import FastAPI, Request, WebSocket
app = FastAPI()
@app.get("/")
def root(): return "hello"
@app.api_route("/echo/{rest:path}", methods=["GET", "POST", "DELETE", "PROPFIND"])
async def echo(rest: str, request: Request):
    return {"method": request.method, "path": request.scope["raw_path"].decode(), "query": request.scope["query_string"].decode(),
            "headers": dict(request.headers), "client": request.client and request.client.host, "body": (await request.body()).decode()}
`

func TestConsumersContract(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("hello", hello, "")
	other := s.deploy("other", hello, "")
	limited := s.deploy("limited", hello, "", "--rate", "2/h", "--public")

	if !strings.HasPrefix(d.Key, "ab_") || d.URL != s.url+"/run/"+d.ID || limited.Key != "" {
		t.Errorf("deploys answered %+v and %+v", d, limited)
	}
	for name, c := range map[string]struct {
		url, key string
		header   []string
		status   int
		problem  string
	}{
		"key":                 {d.URL + "/", d.Key, nil, 200, ""},
		"key as bearer":       {d.URL + "/", "", []string{"Authorization", "Bearer " + d.Key}, 200, ""},
		"by name":             {s.url + "/run/hello/", d.Key, nil, 200, ""},
		"no key":              {d.URL + "/", "", nil, 401, "missing_key"},
		"wrong key":           {d.URL + "/", "ab_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", nil, 401, "invalid_key"},
		"key of another API":  {d.URL + "/", other.Key, nil, 403, "wrong_api"},
		"unknown API":         {s.url + "/run/nobody/", d.Key, nil, 404, "unknown_api"},
		"the program's 404":   {d.URL + "/nowhere", d.Key, nil, 404, ""},
		"nothing of the sort": {s.url + "/elsewhere", "", nil, 404, "not_found"},
		"health":              {s.url + "/healthz", "", nil, 200, ""},
		"readiness":           {s.url + "/readyz", "", nil, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := call(t, http.MethodGet, c.url, c.key, nil, c.header...)
			if a.status != c.status || a.problem() != c.problem {
				t.Errorf("status %d, type %q: want %d, %q\n%s", a.status, a.problem(), c.status, c.problem, a.body)
			}
			if c.problem != "" && a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", a.header.Get("Content-Type"))
			}
			if a.header.Get("X-Request-ID") == "" {
				t.Error("no X-Request-ID")
			}
		})
	}

	t.Run("rate limit", func(t *testing.T) {
		for range 2 {
			limited.get(t, "/")
		}
		a := call(t, http.MethodGet, limited.URL+"/", "", nil)
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || a.header.Get("RateLimit") == "" {
			t.Errorf("status %d, %v", a.status, a.header)
		}
	})

	t.Run("the request arrives unchanged", func(t *testing.T) {
		a := call(t, "PROPFIND", d.URL+"/echo/a%2Fb/%C3%A9//c/?x=1&x=%20&empty=", d.Key, strings.NewReader("body"),
			"X-Forwarded-For", "203.0.113.9", "Authorization", "Basic YTpi")
		var got struct {
			Method, Path, Query, Client, Body string
			Headers                           map[string]string
		}
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Fatalf("%s: %v", a.body, err)
		}
		if got.Method != "PROPFIND" || got.Path != "/run/"+d.ID+"/echo/a%2Fb/%C3%A9//c/" || got.Query != "x=1&x=%20&empty=" || got.Body != "body" {
			t.Errorf("%+v", got)
		}
		if got.Headers["authorization"] != "Basic YTpi" {
			t.Errorf("the author's Authorization arrived as %q", got.Headers["authorization"])
		}
		if strings.Contains(string(a.body), d.Key) {
			t.Error("the key reached the program")
		}
		if got.Client != "127.0.0.1" {
			t.Errorf("client %q: a forged X-Forwarded-For was believed, or none was set", got.Client)
		}
	})

	t.Run("interactive docs work below the prefix", func(t *testing.T) {
		for _, path := range []string{"/docs", "/redoc"} {
			if page := string(d.get(t, path).body); !strings.Contains(page, "/run/"+d.ID+"/openapi.json") {
				t.Errorf("%s does not point to the document below the prefix", path)
			}
		}
		if doc := string(d.get(t, "/openapi.json").body); !strings.Contains(doc, `"/run/`+d.ID+`"`) {
			t.Errorf("the document names no server below the prefix: %.300s", doc)
		}
	})

	t.Run("a revoked key ends at once", func(t *testing.T) {
		out, err := s.command("keys", "create", "--api", "hello", "--json")
		if err != nil {
			t.Fatal(err)
		}
		var made struct{ ID, Secret string }
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if a := call(t, http.MethodGet, d.URL+"/", made.Secret, nil); a.status != 200 {
			t.Fatalf("a new key: status %d", a.status)
		}
		if _, err := s.command("keys", "revoke", "--api", "hello", made.ID); err != nil {
			t.Fatal(err)
		}
		if a := call(t, http.MethodGet, d.URL+"/", made.Secret, nil); a.status != 401 {
			t.Errorf("a revoked key: status %d", a.status)
		}
	})
}

func TestARootPathOfTheProgramsOwn(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("prefixed", sample(t, "rootpath/app.py"), sample(t, "rootpath/requirements.txt"))
	for _, path := range []string{"/where", "/api/v1/where"} {
		want := fmt.Sprintf(`{"root_path":"/run/%s","url":"%s/where"}`, d.ID, d.URL)
		if got := string(d.get(t, path).body); got != want {
			t.Errorf("%s answers %s, want %s", path, got, want)
		}
	}
}

func TestWebSockets(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("streams", sample(t, "streams/app.py"), sample(t, "streams/requirements.txt"))
	conn, answer := handshake(t, d, "/echo")
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("status %d, %v", answer.StatusCode, answer.Header)
	}
	// One masked text frame "hi" (RFC 6455, section 5.2); the mask is zero.
	if _, err := conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 4)
	if _, err := io.ReadFull(conn, frame); err != nil || string(frame) != "\x81\x02hi" {
		t.Errorf("frame %q, %v", frame, err)
	}
	if _, answer := handshake(t, d, "/refused"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a refused handshake: status %d", answer.StatusCode)
	}
}

// handshake asks for a WebSocket and returns the connection and the answer to it.
func handshake(t *testing.T, d deployed, path string) (io.ReadWriter, *http.Response) {
	t.Helper()
	u, err := url.Parse(d.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nX-API-Key: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", u.Path, u.Host, d.Key)
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return struct {
		io.Reader
		io.Writer
	}{r, conn}, answer
}

func TestDeployingAgainMakesAVersionWithoutAGap(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	code := func(n int) string {
		return fmt.Sprintf("from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef root(): return %d\n", n)
	}
	d := s.deploy("counter", code(1), "")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := tryCall(t.Context(), http.MethodGet, d.URL+"/", d.Key, nil)
				if err != nil || a.status != 200 {
					t.Errorf("during a deploy: status %d %v: %s", a.status, err, a.body)
					return
				}
			}
		})
	}
	for n := 2; n <= 4; n++ {
		if again := s.deploy("counter", code(n), ""); again.ID != d.ID || again.Version != n || again.Key != "" {
			t.Errorf("deploy %d answered %+v", n, again)
		}
		if got := string(d.get(t, "/").body); got != fmt.Sprint(n) {
			t.Errorf("after deploy %d version %s answers", n, got)
		}
	}
	if out, err := s.tryDeploy("counter", "1/0", ""); err == nil || !strings.Contains(out, "ZeroDivisionError") || !strings.Contains(out, "import_error") {
		t.Errorf("a broken version: %v\n%s", err, out)
	}
	if got := string(d.get(t, "/").body); got != "4" {
		t.Errorf("after a broken deploy version %s answers", got)
	}
	close(stop)
	wg.Wait()
}

func TestTheExampleWorksAsPrinted(t *testing.T) {
	s := serve(t, dataDir(t))
	example, _ := s.ready["example"].(map[string]any)
	curl, _ := example["curl"].(string)
	if curl == "" {
		t.Fatalf("the server's line has no curl line: %v", s.ready)
	}
	out, err := exec.Command("bash", "-c", curl).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "hello") {
		t.Errorf("%s\nprinted %s, %v", curl, out, err)
	}
	docs, _ := example["docs"].(string)
	if a := call(t, http.MethodGet, docs, "", nil); a.status != 200 || !strings.Contains(string(a.body), "swagger") {
		t.Errorf("docs at %q: status %d", docs, a.status)
	}
}

// TestAnExampleThatCannotBeThere starts where no package can be had: the server serves, and says what is not there and why.
func TestAnExampleThatCannotBeThere(t *testing.T) {
	s := &server{t: t, dataDir: dataDir(t), env: []string{"PIP_INDEX_URL=http://127.0.0.1:9/simple", "UV_INDEX_URL=http://127.0.0.1:9/simple"}}
	s.start("--listen", "127.0.0.1:0")
	if s.ready["example"] != nil || !strings.Contains(fmt.Sprint(s.ready["example_error"]), "deploy the example: ") {
		t.Errorf("the server's line: %v", s.ready)
	}
	if a := call(t, http.MethodGet, s.url+"/readyz", "", nil); a.status != 200 {
		t.Errorf("it is ready: %d %s", a.status, a.body)
	}
}

func TestStreamsAreNotBuffered(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("stream", `
import asyncio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
app = FastAPI()
go = asyncio.Event()
@app.get("/events")
async def events():
    async def body():
        yield "data: one\n\n"
        await go.wait()
        yield "data: two\n\n"
    return StreamingResponse(body(), media_type="text/event-stream")
@app.post("/go")
async def release(): go.set()
`, "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", d.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 100)
	n, err := resp.Body.Read(buf) // the first event, while the program waits
	if err != nil || string(buf[:n]) != "data: one\n\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	call(t, http.MethodPost, d.URL+"/go", d.Key, nil)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != "data: two\n\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestLogsOfAProgram(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("talker", hello+"\n@app.get('/say')\ndef say(word: str): print('the word is', word)\n", "")
	d.get(t, "/say?word=xyzzy")
	deadline := time.Now().Add(20 * time.Second)
	for {
		out, err := s.command("logs", "talker")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "the word is xyzzy") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the line is not in the log:\n%s", out)
		}
	}
}
