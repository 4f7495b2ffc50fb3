package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

// part is an entry of an archive that is made by hand.
type part struct {
	name    string
	content string
	mode    fs.FileMode
	change  func(*zip.FileHeader)
}

func pack(t testing.TB, parts ...part) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := zip.NewWriter(&buffer)
	for _, p := range parts {
		h := &zip.FileHeader{Name: p.name, Method: zip.Deflate}
		if p.mode != 0 {
			h.SetMode(p.mode)
		}
		if p.change != nil {
			p.change(h)
		}
		out, err := w.CreateHeader(h)
		if err == nil && !strings.HasSuffix(p.name, "/") {
			_, err = out.Write([]byte(p.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func TestOpenTakesPlainArchives(t *testing.T) {
	b, err := Open(pack(t,
		part{name: "pkg/"}, part{name: "pkg/main.py", content: "app = 1", mode: 0o755}, part{name: "data/a.bin", content: "\x00\xff"},
		part{name: "b.txt", change: func(h *zip.FileHeader) { h.Method = zip.Store }, content: "stored"}, part{name: "empty.txt"},
		part{name: "übung/наме.txt", content: "names"},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"pkg/main.py": "app = 1", "data/a.bin": "\x00\xff", "b.txt": "stored", "empty.txt": "", "übung/наме.txt": "names"}
	if b.Len() != len(want) || b.Bytes() != 20 {
		t.Errorf("%d files with %d bytes", b.Len(), b.Bytes())
	}
	for path, text := range want {
		if got, ok := b.File(path); !ok || string(got) != text {
			t.Errorf("%s holds %q", path, got)
		}
	}
	archive, err := b.Archive()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(archive)
	if err != nil || again.Hash() != b.Hash() {
		t.Errorf("what is packed again is another: %v", err)
	}
}

// TestOpenRefusesHostileArchives names for each archive what its author reads.
func TestOpenRefusesHostileArchives(t *testing.T) {
	mode := func(m fs.FileMode) func(*zip.FileHeader) { return func(h *zip.FileHeader) { h.SetMode(m) } }
	bomb := strings.Repeat("\x00", MaxBytes/2+1)
	var many []part
	for i := range MaxFiles + 1 {
		many = append(many, part{name: fmt.Sprintf("f%d", i)})
	}
	var manyDirs []part
	for i := range 2*MaxFiles + 2 {
		manyDirs = append(manyDirs, part{name: fmt.Sprintf("d%d/", i)})
	}
	good := pack(t, part{name: "main.py", content: "the content of a file"})
	torn := good[:len(good)-10]
	flipped := bytes.Clone(good)
	flipped[38] ^= 0xff // within the compressed bytes
	lying := pack(t, part{name: "a", content: strings.Repeat("x", 1000)})
	at := bytes.LastIndex(lying, headerMark)
	copy(lying[at+24:], []byte{1, 0, 0, 0}) // the size that the directory tells
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"no archive":            {[]byte("app = FastAPI()"), "no zip archive"},
		"torn":                  {torn, "no zip archive"},
		"empty":                 {pack(t), "no file"},
		"directories alone":     {pack(t, part{name: "a/"}), "no file"},
		"absolute":              {pack(t, part{name: "/etc/passwd"}), `"/etc/passwd" is an absolute path`},
		"above":                 {pack(t, part{name: "a/../../b"}), `"a/../../b" has ".."`},
		"dot":                   {pack(t, part{name: "./a"}), `"./a" has "."`},
		"directory above":       {pack(t, part{name: "../"}), `has ".."`},
		"empty name":            {pack(t, part{name: "a//b"}), "empty name"},
		"root":                  {pack(t, part{name: "/"}), "no name"},
		"backslash":             {pack(t, part{name: `..\b`}), "backslash"},
		"nul":                   {pack(t, part{name: "a\x00b"}), "cannot be printed"},
		"line feed":             {pack(t, part{name: "a\nb"}), "cannot be printed"},
		"right to left":         {pack(t, part{name: "a\u202eyp.b"}), "cannot be printed"},
		"not UTF-8":             {pack(t, part{name: "a\xff", change: func(h *zip.FileHeader) { h.NonUTF8 = true }}), "not UTF-8"},
		"long path":             {pack(t, part{name: strings.Repeat("a/", 250) + "b"}), "more than 400 bytes"},
		"long name":             {pack(t, part{name: strings.Repeat("a", 300)}), "more than 255 bytes"},
		"deep":                  {pack(t, part{name: strings.Repeat("a/", MaxDepth) + "b"}), "directories"},
		"link":                  {pack(t, part{name: "evil", content: "/etc/shadow", change: mode(fs.ModeSymlink | 0o777)}), `"evil" is a link`},
		"device":                {pack(t, part{name: "sda", change: mode(fs.ModeDevice | 0o666)}), `"sda" is no regular file`},
		"character device":      {pack(t, part{name: "tty", change: mode(fs.ModeDevice | fs.ModeCharDevice | 0o666)}), "no regular file"},
		"fifo":                  {pack(t, part{name: "pipe", change: mode(fs.ModeNamedPipe | 0o666)}), "no regular file"},
		"socket":                {pack(t, part{name: "sock", change: mode(fs.ModeSocket | 0o666)}), "no regular file"},
		"set-uid":               {pack(t, part{name: "su", change: mode(fs.ModeSetuid | fs.ModeSymlink | 0o755)}), "is a link"},
		"directory by its mode": {pack(t, part{name: "main.py", content: "x", change: mode(fs.ModeDir | 0o755)}), "no regular file"},
		"encrypted":             {pack(t, part{name: "a", content: "x", change: func(h *zip.FileHeader) { h.Flags |= 1 }}), `"a" is encrypted`},
		"twice":                 {pack(t, part{name: "main.py"}, part{name: "main.py"}), "there twice"},
		"case":                  {pack(t, part{name: "main.py"}, part{name: "Main.py"}), "in case or spelling"},
		"case of a directory":   {pack(t, part{name: "pkg/a"}, part{name: "PKG/b"}), "in case or spelling"},
		"folding":               {pack(t, part{name: "straße"}, part{name: "STRASSE"}), "in case or spelling"},
		"composition":           {pack(t, part{name: "caf\u00e9"}, part{name: "cafe\u0301"}), "in case or spelling"},
		"file and directory":    {pack(t, part{name: "a"}, part{name: "a/b"}), `is below "a", which is a file`},
		"directory and file":    {pack(t, part{name: "a/b"}, part{name: "A"}), "a directory"},
		"bomb":                  {pack(t, part{name: "a", content: bomb}, part{name: "b", content: bomb}), "more than 32 MiB"},
		"many":                  {pack(t, many...), "more than 2000 files"},
		"many directories":      {pack(t, manyDirs...), "more than 2000 files"},
		"many headers":          {append(bytes.Repeat(headerMark, maxHeaders+1), good...), "more than 2000 files"},
		"large":                 {make([]byte, MaxArchiveBytes+1), "more than 33 MiB"},
		"changed":               {flipped, `"main.py" cannot be read`},
		"lying about the size":  {lying, `"a" cannot be read`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(c.archive)
			var wrong *Error
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.says) || wrong.Remedy == "" {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

// FuzzOpen checks that whatever is taken keeps the promises, and comes back from an archive of ours.
func FuzzOpen(f *testing.F) {
	f.Add(pack(f, part{name: "pkg/main.py", content: "app = FastAPI()"}, part{name: "data/x", content: "y"}))
	f.Add(pack(f, part{name: "a/../b"}))
	f.Add(pack(f, part{name: "l", content: "/", change: func(h *zip.FileHeader) { h.SetMode(fs.ModeSymlink) }}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		b, err := Open(archive)
		if err != nil {
			var wrong *Error
			if !errors.As(err, &wrong) {
				t.Fatalf("error %v is of no author's", err)
			}
			return
		}
		if b.Bytes() > MaxBytes || b.Len() > MaxFiles || b.Len() == 0 {
			t.Fatalf("%d files with %d bytes", b.Len(), b.Bytes())
		}
		for _, file := range b.Files() {
			if !fs.ValidPath(file.Path) || file.Path == "." || strings.Contains(file.Path, `\`) {
				t.Fatalf("the path %q was taken", file.Path)
			}
		}
		again, err := b.Archive()
		if err != nil {
			t.Fatal(err)
		}
		same, err := Open(again)
		if err != nil || same.Hash() != b.Hash() {
			t.Fatalf("packed again it is another: %v", err)
		}
	})
}

// TestManyDirectoriesTakeNoTime: each entry costs a look at every directory above it, and one may be there any number of times.
func TestManyDirectoriesTakeNoTime(t *testing.T) {
	var buffer bytes.Buffer
	w := zip.NewWriter(&buffer)
	name := strings.Repeat(strings.Repeat("\u1e69", 6)+"/", MaxDepth)
	for range 65_000 {
		if _, err := w.CreateRaw(&zip.FileHeader{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// What is before the directory is not needed for it.
	archive := buffer.Bytes()[bytes.Index(buffer.Bytes(), headerMark):]
	binary.LittleEndian.PutUint32(archive[len(archive)-6:], 0) // where it begins
	began := time.Now()
	_, err := Open(archive)
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Message, "more than 2000 files") {
		t.Errorf("%d bytes are refused with %v", len(archive), err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("to refuse it took %v", took)
	}
}
