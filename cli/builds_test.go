package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestReadGitCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("https://a:s3cret-file@git.example.com/team\nhttps://b:s3cret-other@git.example.com\n", 0o600)
	direct := value{"https://c:s3cret-direct@git.example.com", fromEnv, "APIBUILDER_GIT_CREDENTIALS"}
	for name, c := range map[string]struct {
		direct, file value
		want         string // user names; !: what the error says
	}{
		"none":            {value{}, value{}, ""},
		"direct":          {direct, value{}, "c"},
		"file":            {value{}, value{path, fromFlag, "--git-credentials-file"}, "a b"},
		"file is closer":  {direct, value{path, fromFlag, "--git-credentials-file"}, "a b"},
		"file is farther": {direct, value{path, fromFile, "git_credentials_file"}, "c"},
		"both":            {direct, value{path, fromEnv, "APIBUILDER_GIT_CREDENTIALS_FILE"}, "!both set"},
		"no such file":    {value{}, value{path + "x", fromFlag, "--git-credentials-file"}, "!no such file"},
		"bad":             {value{"https://s3cret@git.example.com", fromEnv, "APIBUILDER_GIT_CREDENTIALS"}, value{}, "!APIBUILDER_GIT_CREDENTIALS: number 1"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := readGitCredentials(settings{"git-credentials": c.direct, "git-credentials-file": c.file})
			var users []string
			for _, u := range all {
				users = append(users, u.User.Username())
			}
			want, fails := strings.CutPrefix(c.want, "!")
			if fails != (err != nil) || fails && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret")) ||
				!fails && strings.Join(users, " ") != want {
				t.Errorf("%v, %v", users, err)
			}
		})
	}
	write("https://a:s3cret-file@git.example.com", 0o640)
	_, err := readGitCredentials(settings{"git-credentials-file": value{path, fromFlag, "--git-credentials-file"}})
	if err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
}

func TestReadGitSSH(t *testing.T) {
	dir := t.TempDir()
	key, hosts := filepath.Join(dir, "key"), filepath.Join(dir, "hosts")
	if err := os.WriteFile(hosts, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	read := func(key, hosts string) error {
		access, err := readGitSSH(settings{
			"git-ssh-key-file": value{key, fromFlag, "--git-ssh-key-file"}, "git-known-hosts-file": value{hosts, fromFlag, "--git-known-hosts-file"},
		})
		if err != nil && access != nil {
			t.Errorf("access beside an error: %v", err)
		}
		return err
	}
	if err := read("", ""); err != nil {
		t.Errorf("neither: %v", err)
	}
	for _, c := range []struct {
		key, hosts, text string
		mode             os.FileMode
		want             string
	}{
		{key, "", "", 0o600, "--git-known-hosts-file"},
		{"", hosts, "", 0o600, "--git-ssh-key-file"},
		{key, hosts, "s3cret", 0o600, "no private key"},
		{key, hosts, string(pem.EncodeToMemory(block)), 0o644, "chmod 600"},
		{key, hosts + "x", string(pem.EncodeToMemory(block)), 0o600, "known hosts"},
		{key, hosts, string(pem.EncodeToMemory(block)), 0o600, ""},
	} {
		if err := errors.Join(os.WriteFile(key, []byte(c.text), 0o600), os.Chmod(key, c.mode)); err != nil {
			t.Fatal(err)
		}
		err := read(c.key, c.hosts)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%+v: %v", c.want, err)
		}
	}
}
