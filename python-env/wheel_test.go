package pythonenv

import (
	"archive/tar"
	"archive/zip"
	"bytes"
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
	if err := makeWheel(dir, name, version, members); err != nil {
		t.Fatal(err)
	}
}

func makeWheel(dir, name, version string, members map[string]string) error {
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
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	for member, text := range all {
		header := &zip.FileHeader{Name: member, Method: zip.Deflate}
		header.SetMode(0o644)
		if strings.HasSuffix(member, ".suid") {
			header.SetMode(0o777 | os.ModeSetuid | os.ModeSetgid)
		}
		m, err := w.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := m.Write([]byte(text)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+"-"+version+"-py3-none-any.whl"), file.Bytes(), 0o644)
}

// writeSdist puts a source distribution into dir whose build would run setup.
func writeSdist(t *testing.T, dir, name, setup string) {
	t.Helper()
	writeSource(t, dir, name, map[string]string{
		"PKG-INFO": "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n",
		"setup.py": setup,
	})
}

// writeSource puts a source distribution of version 1.0 into dir.
func writeSource(t *testing.T, dir, name string, files map[string]string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name+"-1.0.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for member, text := range files {
		_ = w.WriteHeader(&tar.Header{Name: name + "-1.0/" + member, Mode: 0o644, Size: int64(len(text))})
		_, _ = w.Write([]byte(text))
	}
	if w.Close() != nil || z.Close() != nil || f.Close() != nil {
		t.Fatal("write a source distribution")
	}
}

// sourceTree is a package whose build needs nothing but Python (PEP 517, backend-path): it runs a piece of Python, indented by
// nothing, which may set "text", what the package's only module says.
func sourceTree(name, version, code string) map[string]string {
	return map[string]string{
		"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
		"PKG-INFO":       "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n",
		"backend.py": fmt.Sprintf(`import os, zipfile
name, version, text = %q, %q, "x = 1\n"

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
	global text
	exec(%q, globals())
	info = f"{name}-{version}.dist-info/"
	file = f"{name}-{version}-py3-none-any.whl"
	with zipfile.ZipFile(os.path.join(wheel_directory, file), "w") as z:
		for member, content in (
			(name + ".py", text), (info + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
			(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
			(info + "RECORD", f"{name}.py,,\n{info}METADATA,,\n{info}WHEEL,,\n{info}RECORD,,\n"),
		):
			z.writestr(member, content)
	return file
`, name, version, code),
	}
}
