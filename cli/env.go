package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v3"

	"apibuilder/python-env"
	"apibuilder/store"
)

func (a *app) envCommand() *cli.Command {
	return &cli.Command{
		Name:  "env",
		Usage: "look at the environments of installed packages, and remove unused ones",
		Commands: []*cli.Command{
			a.envLockCommand(), a.envShowCommand(), a.envDiffCommand(),
			a.envListCommand(), a.envPruneCommand(), a.envVerifyCommand(),
		},
	}
}

// environments are those of a data directory on this machine, whether its server runs or not.
type environments struct {
	builder *pythonenv.Builder  // never started: it looks and removes, and builds nothing
	users   map[string][]string // versions that use one, "name@3"
	options buildOptions
}

func (a *app) environments(ctx context.Context, cmd *cli.Command, command string) (*environments, error) {
	settings, err := loadSettings(cmd)
	if err != nil {
		return nil, err
	}
	e := &environments{}
	if e.options, err = readBuildOptions(settings); err != nil {
		return nil, err
	}
	if err := requireRoot(command); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(settings.text("data-dir"))
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "envs")); err != nil {
		return nil, fmt.Errorf("find the environments in %s: %w: name another with --data-dir, or run serve first", dir, err)
	}
	e.builder = pythonenv.New(pythonenv.Config{Dir: filepath.Join(dir, "envs")})
	e.users, err = usersIn(ctx, settings, dir)
	return e, err
}

// usersIn reads a store beside its server. Without a store nobody uses anything.
func usersIn(ctx context.Context, settings settings, dir string) (users map[string][]string, err error) {
	data, err := openDataDir(dir)
	if err != nil {
		return nil, err
	}
	url, err := databaseURL(settings)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(data.join("apibuilder.db")); errors.Is(err, fs.ErrNotExist) && url.reveal() == "" {
		return nil, neverServed(data)
	}
	st, err := openToRead(ctx, settings, data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := ofRunning(ctx, st, data); err != nil {
		return nil, err
	}
	return environmentUsers(ctx, st)
}

// environmentUsers lists the versions that use each environment, by its key. All of them count: each may be served again.
func environmentUsers(ctx context.Context, st interface {
	EnvironmentUses(ctx context.Context) ([]store.EnvironmentUse, error)
},
) (map[string][]string, error) {
	uses, err := st.EnvironmentUses(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out which environments are in use: %w", err)
	}
	users := map[string][]string{}
	for _, u := range uses {
		users[u.Environment] = append(users[u.Environment], fmt.Sprintf("%s@%d", u.API, u.Version))
	}
	return users, nil
}

func inUse(users map[string][]string) map[string]bool {
	keys := map[string]bool{}
	for key := range users {
		keys[key] = true
	}
	return keys
}

// find returns the key that begins with a text, if there is one such environment.
func (e *environments) find(beginning string) (string, error) {
	all, err := e.builder.List()
	if err != nil {
		return "", err
	}
	var found []string
	for _, i := range all {
		if strings.HasPrefix(i.Key, beginning) {
			found = append(found, i.Key)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("there is no environment %q: see `apibuilder env list`", beginning)
	}
	return "", usagef("%d environments begin with %q: write more of the key", len(found), beginning)
}
