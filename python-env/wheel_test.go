package pythonenv

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeWheel puts a wheel of version 1.0 with the given members into dir.
func writeWheel(t *testing.T, dir, name string, members map[string]string) {
	t.Helper()
	writeWheelOf(t, dir, name, "1.0", members)
}

func writeWheelOf(t *testing.T, dir, name, version string, members map[string]string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name+"-"+version+"-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	info := name + "-" + version + ".dist-info/"
	all := map[string]string{
		info + "METADATA": "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n",
		info + "WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
	}
	for member, text := range members {
		all[member] = text
	}
	var record strings.Builder
	for member, text := range all {
		sum := sha256.Sum256([]byte(text))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", member, base64.RawURLEncoding.EncodeToString(sum[:]), len(text))
	}
	record.WriteString(info + "RECORD,,\n")
	all[info+"RECORD"] = record.String()
	for member, text := range all {
		header := &zip.FileHeader{Name: member, Method: zip.Deflate}
		header.SetMode(0o644)
		if strings.HasSuffix(member, ".suid") {
			header.SetMode(0o777 | os.ModeSetuid | os.ModeSetgid)
		}
		m, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeSdist puts a source distribution into dir whose build would run setup.
func writeSdist(t *testing.T, dir, name, setup string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name+"-1.0.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for member, text := range map[string]string{
		"PKG-INFO": "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n",
		"setup.py": setup,
	} {
		_ = w.WriteHeader(&tar.Header{Name: name + "-1.0/" + member, Mode: 0o644, Size: int64(len(text))})
		_, _ = w.Write([]byte(text))
	}
	if w.Close() != nil || z.Close() != nil || f.Close() != nil {
		t.Fatal("write a source distribution")
	}
}
