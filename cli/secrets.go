package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/backup"
	"apibuilder/store/sealed"
)

var secretsSettings = []setting{
	{flag: "secrets-key", serve: true, usage: "`FILE` with the key that encrypts environment variables in the store; secrets.key in the data directory if empty"},
}

// keyInBackup is the name of the key file in a backup.
const keyInBackup = "secrets.key"

// storeFlags say where the store and its key are.
func storeFlags() []cli.Flag {
	flags := databaseFlags()
	for _, f := range settingFlags(true) {
		if f.Names()[0] == "secrets-key" {
			flags = append(flags, f)
		}
	}
	return flags
}

// secretsPath is where the key file is.
func secretsPath(s settings, data *dataDir) string {
	if path := s.text("secrets-key"); path != "" {
		return path
	}
	return data.join("secrets.key")
}

func (a *app) secretsCommand() *cli.Command {
	return &cli.Command{
		Name:  "secrets",
		Usage: "look after the key that encrypts environment variables in the store",
		Commands: []*cli.Command{{
			Name: "rotate", Usage: "encrypt all of them anew, for a new key", Action: a.rotateSecrets,
			Description: "The new key is put first into the server's key file. The keys before stay in it, because older backups need them.\n" +
				"Where several servers share a database, --prepare makes the key first; then the file is copied to all of them, by you, and\n" +
				"the rotation is refused as long as one of them could not open what it encrypts. Copy the file again after it.",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "prepare", Usage: "only make the new key, which is not used before the next rotation"},
				&cli.BoolFlag{Name: "same-key", Usage: "make no new key: encrypt for the one that is first in the file now"},
				&cli.BoolFlag{Name: "drop-old", Usage: "remove all other keys from the file afterwards: older backups cannot be read with it any more"},
			},
		}},
	}
}

func (a *app) rotateSecrets(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	request := admin.SecretsRotation{Prepare: cmd.Bool("prepare"), SameKey: cmd.Bool("same-key"), DropOld: cmd.Bool("drop-old")}
	var result admin.SecretsRotated
	if err := a.call(ctx, cmd, "POST", client.Path("secrets", "rotate"), request, &result); err != nil {
		return err
	}
	return a.show(cmd, result, func(w io.Writer) {
		if request.Prepare {
			fmt.Fprintf(w, "a key is prepared for the next rotation; the key file is %s\n", result.KeyFile)
		} else {
			fmt.Fprintf(w, "%d environments are encrypted anew; the key file is %s\n", result.Environments, result.KeyFile)
		}
		if len(result.CopyTo) > 0 {
			fmt.Fprintf(w, "copy it to the nodes %s\n", strings.Join(result.CopyTo, ", "))
		}
	})
}

// sealStore lays the layer over the store that encrypts what is secret in it.
func (s *server) sealStore(ctx context.Context, below sealed.Below) error {
	layer, err := sealed.Open(ctx, below, s.secretsPath())
	if err != nil {
		return err
	}
	s.store, s.secrets, s.pulse.ping = layer, layer, layer.Ping
	return nil
}

// keyNames are names of the keys of this node, the one that seals first.
func (s *server) keyNames() []string {
	all, _ := s.secrets.KeyNames()
	return all
}

func (s *server) secretsPath() string {
	if s.options.secretsKey != "" {
		return s.options.secretsKey
	}
	return s.data.join("secrets.key")
}

// vault implements admin.Secrets.
type vault struct {
	layer *sealed.Store
	path  string
	node  string // id of this one
}

// Prepare implements admin.Secrets.
func (v vault) Prepare() error { return v.layer.Prepare() }

// Keys implements admin.Secrets.
func (v vault) Keys() (node string, all []string, prepared, file string) {
	all, prepared = v.layer.KeyNames()
	return v.node, all, prepared, v.path
}

// Rotate implements admin.Secrets.
func (v vault) Rotate(ctx context.Context, newKey, dropOld bool) (admin.SecretsRotated, error) {
	n, err := v.layer.Rotate(ctx, newKey, dropOld)
	return admin.SecretsRotated{Environments: n, KeyFile: v.path}, err
}

// readSecretsKey returns the key file as a backup has it.
func readSecretsKey(path string) (backup.File, error) {
	if _, err := sealed.ReadKeyFile(path); err != nil {
		return backup.File{}, fmt.Errorf("add the key: %w: name it with --secrets-key, or leave out --with-key", err)
	}
	raw, err := os.ReadFile(path)
	return backup.File{Name: keyInBackup, Data: raw}, err
}

// secretsKeyToRestore returns what adds the keys of a backup to the key file, or makes that; nothing where the backup has none. It
// reads both first, so that what can be wrong with them is told before anything is changed.
func secretsKeyToRestore(path string, file *backup.File) (restore func() error, err error) {
	if file == nil {
		return func() error { return nil }, nil
	}
	keys, err := sealed.ParseKeys(bytes.NewReader(file.Data))
	if err != nil {
		return nil, fmt.Errorf("read the key in the backup: %w", err)
	}
	there, err := sealed.ReadKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%s is a link to what is not there: mount that, or remove the link", path)
		}
		return func() error { return sealed.CopyKeyFile(path, file.Data) }, nil
	}
	if err != nil {
		return nil, err
	}
	return func() error { return there.Merge(keys) }, nil
}

// warnOfSecrets tells when a restored store needs another key file.
func (a *app) warnOfSecrets(ctx context.Context, st sealed.Below, path string) {
	if err := sealed.Check(ctx, st, path); err != nil {
		fmt.Fprintf(a.stderr, "apibuilder: the server will not start yet: %s\n", printable(err.Error()))
	}
}
