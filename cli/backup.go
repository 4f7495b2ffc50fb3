package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/urfave/cli/v3"

	"apibuilder/backup"
	"apibuilder/node"
	"apibuilder/store"
	"apibuilder/store/postgres"
	"apibuilder/store/sealed"
)

// journalFile is a file of the usage journal, below the data directory.
var journalFile = regexp.MustCompile(`^usage/usage-(\d{8})\.log$`)

// keeper is a store of either driver.
type keeper interface {
	store.Store
	store.Dumper
	store.Loader
	sealed.Rewriter
}

func (a *app) backupCommand() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "write everything that cannot be made again into one file, also while a server runs",
		ArgsUsage: "FILE",
		Description: "The file holds APIs with their code, versions with their environment variables, hashed keys, users, plans, usage,\n" +
			"and the usage records that wait in the journal, as they are at one moment. Environments are not in it: they are built\n" +
			"again. Environment variables are in it as the store has them, encrypted: keep the key file too, elsewhere. The file\n" +
			"is readable by its owner only, and can be restored into either kind of store.",
		Flags: append(storeFlags(), &cli.BoolFlag{
			Name: "with-key", Usage: "put the key file in: whoever has the backup can read everything then",
		}),
		Action: a.backup,
	}
}

func (a *app) restoreCommand() *cli.Command {
	return &cli.Command{
		Name:        "restore",
		Usage:       "fill an empty store from a backup, while no server runs",
		ArgsUsage:   "FILE",
		Description: "Nothing is changed unless all of it can be restored.",
		Flags: append(storeFlags(), &cli.BoolFlag{
			Name: "force", Usage: "replace what the store holds: all of it is lost",
		}),
		Action: a.restore,
	}
}

// openKeeper opens the store that serve would use.
func openKeeper(ctx context.Context, s settings, data *dataDir) (keeper, error) {
	url, err := databaseURL(s)
	if err != nil {
		return nil, err
	}
	if url.reveal() != "" {
		st, err := postgres.Open(ctx, postgres.Options{URL: url.reveal()})
		if err != nil {
			return nil, err
		}
		return st, nil
	}
	st, err := openFile(ctx, data)
	if err != nil {
		return nil, err
	}
	return st, nil
}

type backupResult struct {
	File  string `json:"file"`
	Rows  int    `json:"rows"`
	Bytes int64  `json:"bytes"`
}

func (a *app) backup(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "FILE")
	if err != nil {
		return err
	}
	settings, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	path := settings.text("data-dir")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("find the data directory: %w: name it with --data-dir", err)
	}
	data, err := openDataDir(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(args[0]); err == nil {
		return fmt.Errorf("%s exists: move it away, or name another file", args[0])
	}
	st, err := openToRead(ctx, settings, data)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	switch err := ofRunning(ctx, st, data); {
	case errors.Is(err, errOtherStore):
		return err
	case err != nil: // a server of an older schema is backed up all the same, and one whose disk is full
		fmt.Fprintf(a.stderr, "apibuilder: whether this is the store of the server that runs cannot be told: %s\n", printable(err.Error()))
	}
	// The journal first: what is delivered in between is in both, and counts once.
	files, err := readJournal(data)
	if err != nil {
		return err
	}
	if cmd.Bool("with-key") {
		key, err := readSecretsKey(secretsPath(settings, data))
		if err != nil {
			return err
		}
		files = append(files, key)
	}
	result, err := writeBackup(ctx, args[0], st, files)
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return a.show(cmd, result, func(w io.Writer) {
		fmt.Fprintf(w, "%s holds %d rows in %d bytes\n", result.File, result.Rows, result.Bytes)
	})
}

// writeBackup writes aside, so that a file under its name is whole.
func writeBackup(ctx context.Context, path string, st store.Dumper, files []backup.File) (result backupResult, err error) {
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return result, err
	}
	renamed := false
	defer func() {
		if err != nil && !renamed {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	defer out.Close()
	if result.Rows, err = backup.Write(ctx, out, st, files); err != nil {
		return result, err
	}
	if err = out.Sync(); err != nil {
		return result, err
	}
	info, err := out.Stat()
	if err != nil {
		return result, err
	}
	result.File, result.Bytes = path, info.Size()
	if err = os.Rename(out.Name(), path); err != nil {
		return result, err
	}
	renamed = true
	return result, syncDir(filepath.Dir(path))
}

// readJournal returns what waits in the journal. A file that goes meanwhile was delivered.
func readJournal(data *dataDir) ([]backup.File, error) {
	paths, err := filepath.Glob(data.join("usage*/usage-*.log")) // of both seats
	if err != nil {
		return nil, err
	}
	var files []backup.File
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("read the usage journal: %w", err)
		}
		raw = bytes.TrimRight(raw, "\x00") // reserved for more records, while the server runs
		files = append(files, backup.File{Name: fmt.Sprintf("usage/usage-%08d.log", len(files)+1), Data: raw})
	}
	return files, nil
}

func (a *app) restore(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "FILE")
	if err != nil {
		return err
	}
	settings, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	content, err := backup.Read(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", args[0], err)
	}
	journal, key, err := sortFiles(content.Files)
	if err != nil {
		return fmt.Errorf("read %s: %w", args[0], err)
	}
	data, err := openDataDir(settings.text("data-dir"))
	if err != nil {
		return err
	}
	if err := data.lock(); err != nil {
		return err
	}
	defer func() { _ = data.close() }()
	restoreKey, err := secretsKeyToRestore(secretsPath(settings, data), key)
	if err != nil {
		return fmt.Errorf("restore the key file: %w", err)
	}
	url, err := databaseURL(settings)
	if err != nil {
		return err
	}
	lonely := func() error { return nil }
	if url.reveal() != "" {
		lonely = func() error {
			return noOtherNode(ctx, data, func(ctx context.Context) ([]store.Node, error) { return postgres.NodesAt(ctx, url.reveal()) })
		}
	}
	if err := lonely(); err != nil { // before a newer schema is made under servers that could not start with it again
		return err
	}
	st, err := openKeeper(ctx, settings, data)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	putJournal, dropStaged, err := stageJournal(data, journal)
	if err != nil {
		return fmt.Errorf("restore the usage journal: %w", err)
	}
	defer dropStaged()
	rows, err := content.Load(ctx, checkedLoader{st, lonely}, cmd.Bool("force"))
	if errors.Is(err, store.ErrConflict) && !cmd.Bool("force") {
		return fmt.Errorf("%w: name another, or replace what it holds with --force", err)
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", args[0], err)
	}
	if cmd.Bool("force") {
		err = dropJournal(data)
	}
	if err = errors.Join(err, putJournal(), restoreKey()); err != nil {
		return fmt.Errorf("the store is restored, and what belongs to it in %s is not: mend this, and restore once more with --force: %w", data.path, err)
	}
	a.warnOfSecrets(ctx, st, secretsPath(settings, data))
	return a.show(cmd, backupResult{File: args[0], Rows: rows}, func(w io.Writer) {
		fmt.Fprintf(w, "%d rows are restored, as they were at %s\n", rows, timeText(content.Made))
	})
}

// checkedLoader checks once more when the store lets nobody in any more: a server may have started meanwhile.
type checkedLoader struct {
	store.Loader
	check func() error
}

func (l checkedLoader) Load(ctx context.Context, force bool, next func() (string, store.Cells, error)) error {
	checked := false
	return l.Loader.Load(ctx, force, func() (string, store.Cells, error) {
		if !checked {
			if err := l.check(); err != nil {
				return "", nil, err
			}
			checked = true
		}
		return next()
	})
}

// noOtherNode refuses to restore under servers that run, which the lock of the data directory does not tell of where they share a
// database. The one of this data directory does not run.
func noOtherNode(ctx context.Context, data *dataDir, nodes func(context.Context) ([]store.Node, error)) error {
	own, err := node.Identity(data.join("node"))
	if err != nil {
		return err
	}
	all, err := nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range all {
		if n.ID != own && n.Silent < store.NodeSilence {
			return fmt.Errorf("the server %s uses the database: stop it; one that was killed counts no more %s after its last word", n.Name, store.NodeSilence)
		}
	}
	return nil
}

// sortFiles tells the files of a backup apart. Others are an error, because their names would say where they go.
func sortFiles(files []backup.File) (journal []backup.File, key *backup.File, err error) {
	for _, f := range files {
		switch {
		case f.Name == keyInBackup && key == nil:
			key = &f
		case journalFile.MatchString(f.Name):
			journal = append(journal, f)
		default:
			return nil, nil, fmt.Errorf("%w: it has a file %q", backup.ErrNotABackup, f.Name)
		}
	}
	return journal, key, nil
}

// dropJournal removes what waits in the journal, of both seats: it is of the store that was replaced.
func dropJournal(data *dataDir) error {
	paths, err := filepath.Glob(data.join("usage*/usage-*.log"))
	for _, path := range paths {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// stageJournal writes files below names by which they are no part of the journal yet, so that a disk that is full is found out before
// anything is changed. Put puts them behind those that are there; records that are in the store already are not counted again. Drop removes
// what is not put.
func stageJournal(data *dataDir, files []backup.File) (put func() error, drop func(), err error) {
	dir := data.join("usage")
	var staged []string
	drop = func() {
		for _, name := range staged {
			_ = os.Remove(name)
		}
	}
	for i, f := range files {
		name := filepath.Join(dir, fmt.Sprintf("restored-%08d", i+1))
		staged = append(staged, name)
		if err := errors.Join(os.MkdirAll(dir, 0o700), writeFile(name, f.Data, 0o600)); err != nil {
			drop()
			return nil, nil, err
		}
	}
	return func() error { return putJournal(dir, staged) }, drop, nil
}

func putJournal(dir string, staged []string) error {
	if len(staged) == 0 {
		return nil
	}
	there, err := filepath.Glob(filepath.Join(dir, "usage-*.log"))
	if err != nil {
		return err
	}
	last := 0
	for _, path := range there {
		var number int
		if _, err := fmt.Sscanf(filepath.Base(path), "usage-%d.log", &number); err == nil {
			last = max(last, number)
		}
	}
	for i, name := range staged {
		if err := os.Rename(name, filepath.Join(dir, fmt.Sprintf("usage-%08d.log", last+1+i))); err != nil {
			return err
		}
	}
	return syncDir(dir)
}
