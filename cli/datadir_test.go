package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDataDirIsMadeAndLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	first, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o711 {
		t.Fatalf("mode %v", info.Mode())
	}
	if err := first.lock(); err != nil {
		t.Fatal(err)
	}
	second, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.lock(); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Fatalf("error %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	if err := second.lock(); err != nil {
		t.Fatal(err)
	}
	second.close()
}

func TestADataDirThatOthersCanChangeIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := openDataDir(dir); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Fatalf("error %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDataDir(file); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Fatalf("error %v", err)
	}
}

func TestBaseURL(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80", "0.0.0.0:8080": "http://127.0.0.1:8080", "[::]:8080": "http://127.0.0.1:8080",
		"[::1]:8080": "http://[::1]:8080", "192.0.2.1:1": "http://192.0.2.1:1",
	} {
		addr, err := net.ResolveTCPAddr("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := baseURL("", addr); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
	if got, err := parsePublicURL("https://api.example.com/"); err != nil || got != "https://api.example.com" {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestPlacesOfTrialsCanBePassedWhateverTheUmaskIs: a jail's mounts are made as its user, who passes through them.
func TestPlacesOfTrialsCanBePassedWhateverTheUmaskIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trials")
	defer unix.Umask(unix.Umask(0o077))
	if err := os.Mkdir(dir, 0o711); err != nil { // as a program from before did
		t.Fatal(err)
	}
	path, free, err := takePlace(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	for _, path := range []string{dir, path} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}
