package endtoend

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

var largeBody = flag.Int64("large", 1<<30, "bytes of the large bodies of TestLargeBodies")

// part is what the program saw of one part of a form.
type part struct {
	Field    string `json:"field"`
	Value    string `json:"value"`
	Filename string `json:"filename"`
	Size     int    `json:"size"`
	Sha256   string `json:"sha256"`
}

// TestFormsArriveEqual sends forms of every shape that clients make; each part must arrive with its name and its bytes.
func TestFormsArriveEqual(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("forms", sample(t, "clients/app.py"), sample(t, "clients/requirements.txt"))
	noise := func(n, seed int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i*31 + i>>8 + seed)
		}
		return b
	}
	many := map[string][]byte{}
	for i := range 200 {
		many[fmt.Sprintf("file-%03d.bin", i)] = noise(i*37, i)
	}
	cases := map[string]struct {
		files    map[string][]byte
		fields   int
		boundary string
	}{
		"no bytes":            {files: map[string][]byte{"empty": {}}},
		"one byte":            {files: map[string][]byte{"one": {0}}},
		"nothing but fields":  {fields: 1},
		"many fields":         {fields: 500},
		"many files":          {files: many, fields: 3},
		"a boundary within":   {files: map[string][]byte{"b": []byte("\r\n--simple\r\n--simpl\r\n\r\n-- simple")}, boundary: "simple-not"},
		"the shortest border": {files: map[string][]byte{"b": noise(100_000, 1)}, boundary: "x"},
		"the longest border":  {files: map[string][]byte{"b": noise(100_000, 2)}, boundary: strings.Repeat("'()+_,-./:=?", 6)[:69] + "z"},
		"line ends":           {files: map[string][]byte{"crlf": []byte("\r\n\r\n\n\r"), "dashes": []byte("--\r\n--")}},
		"odd names": {files: map[string][]byte{
			"ü ñ 漢字 \U0001F600.png": noise(10, 3), `with "quotes".txt`: noise(11, 4), "..\\..\\windows": noise(12, 5), "../../etc/passwd": noise(13, 6),
			"semi;colon=equals": noise(14, 7), "per%20cent%0d%0a": noise(15, 8), strings.Repeat("long", 250): noise(16, 9), " ": noise(17, 10),
		}},
		"8 MiB": {files: map[string][]byte{"large": noise(8<<20, 11)}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			body := &bytes.Buffer{}
			form := multipart.NewWriter(body)
			if c.boundary != "" {
				if err := form.SetBoundary(c.boundary); err != nil {
					t.Fatal(err)
				}
			}
			for file, content := range c.files {
				w, err := form.CreateFormFile("f", file)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = w.Write(content)
			}
			for i := range c.fields {
				_ = form.WriteField(fmt.Sprintf("field %d", i), strconv.Itoa(i))
			}
			_ = form.Close()
			direct := int64(body.Len())
			a := call(t, http.MethodPost, d.URL+"/form", d.Key, body, "Content-Type", form.FormDataContentType())
			var got struct{ Parts []part }
			if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK {
				t.Fatalf("status %d of %d bytes: %s", a.status, direct, a.body)
			}
			files, fields := 0, 0
			for _, p := range got.Parts {
				if p.Field != "f" {
					if p.Field != "field "+p.Value {
						t.Errorf("%q has the value %q", p.Field, p.Value)
					}
					fields++
					continue
				}
				files++
				content, ok := c.files[p.Filename]
				sum := sha256.Sum256(content)
				if !ok || p.Size != len(content) || p.Sha256 != hex.EncodeToString(sum[:]) {
					t.Errorf("file %q: %d bytes with %s", p.Filename, p.Size, p.Sha256)
				}
			}
			if files != len(c.files) || fields != c.fields {
				t.Errorf("%d files and %d fields of %d and %d", files, fields, len(c.files), c.fields)
			}
		})
	}
}

// TestLargeBodies sends bodies up and down, the smallest and large ones; the server's memory moves by 16 MiB at most.
func TestLargeBodies(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("large", sample(t, "clients/app.py"), sample(t, "clients/requirements.txt"))
	const warm = 32 << 20
	for _, size := range []int64{0, 1, warm, *largeBody} { // up to the last one is what a server takes once
		for _, chunked := range []bool{false, true} {
			before := s.resetPeak(t)
			want := sha256.New()
			body := io.TeeReader(io.LimitReader(&counting{}, size), want)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.URL+"/raw", body)
			if err != nil {
				t.Fatal(err)
			}
			if !chunked {
				r.ContentLength = size
			}
			r.Header.Set("X-API-Key", d.Key)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Size   int64
				Sha256 string
			}
			err = json.NewDecoder(res.Body).Decode(&got)
			res.Body.Close()
			if err != nil || got.Size != size || got.Sha256 != hex.EncodeToString(want.Sum(nil)) {
				t.Fatalf("up: %v: %+v", err, got)
			}
			s.wantMoved(t, size > warm, "up", before)
		}
		before := s.resetPeak(t)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprint(d.URL, "/bytes/", size), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-API-Key", d.Key)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, want := sha256.New(), sha256.New()
		n, err := io.Copy(got, res.Body)
		res.Body.Close()
		_, _ = io.Copy(want, io.LimitReader(&counting{}, size))
		if err != nil || n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			t.Fatalf("down: %d bytes of %d: %v", n, size, err)
		}
		s.wantMoved(t, size > warm, "down", before)
	}
}

// counting is 0, 1, 2 to 255, and again.
type counting struct{ at byte }

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.at
		c.at++
	}
	return len(p), nil
}

// resetPeak forgets the server's largest memory so far (proc(5), clear_refs) and returns what it has now, in bytes.
func (s *server) resetPeak(t *testing.T) int64 {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	return s.memory(t, "VmRSS")
}

func (s *server) wantMoved(t *testing.T, counts bool, way string, before int64) {
	t.Helper()
	const most = 16 << 20
	moved := s.memory(t, "VmHWM") - before
	t.Logf("%s: the server's memory moved by %.1f MiB", way, float64(moved)/(1<<20))
	if counts && moved > most {
		t.Errorf("%s: the server's memory moved by %d bytes, at most %d are allowed", way, moved, most)
	}
}

// memory reads a line of /proc/PID/status, in bytes.
func (s *server) memory(t *testing.T, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
