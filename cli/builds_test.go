package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
