// Package schema holds the steps by which the tables of a store came to be: files that a driver embeds, each run once, in the
// order of their numbers.
package schema

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"apibuilder/store"
)

// ErrNewer says that the database was written by a newer version of this program.
var ErrNewer = errors.New("database is newer than this program")

// Migration is one step. A released one is never changed.
type Migration struct {
	Version int // from 1, ascending; a number that is missing was given up before it was released
	Name    string
	SQL     string
}

// Migrations returns those in the directory "migrations" of files, oldest first. It panics when a file's name is not its
// number and a word, or when two have one number, which a driver's test rules out.
func Migrations(files fs.FS) []Migration {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		panic(err)
	}
	var all []Migration
	for _, path := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version <= Newest(all) {
			panic(fmt.Sprintf("migration %s: want a number above %d", path, Newest(all)))
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			panic(err)
		}
		all = append(all, Migration{version, name, string(text)})
	}
	return all
}

// Newest is the version of a schema that has all of them; 0 for none.
func Newest(all []Migration) int {
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].Version
}

// Next returns the migration that comes after a schema's version, or done when it has all; an ErrNewer when it has more.
func Next(version int, all []Migration) (m Migration, done bool, err error) {
	if version > Newest(all) {
		return m, false, fmt.Errorf("%w: its schema has version %d, this program knows %d; run the newer program, or restore "+
			"the backup from before the upgrade", ErrNewer, version, Newest(all))
	}
	for _, m := range all {
		if m.Version > version {
			return m, false, nil
		}
	}
	return m, true, nil
}

// Readable returns nil for the version of a schema that this program can read as it is, its own or an older one; store.ErrEmpty for 0, and
// an ErrNewer.
func Readable(version int, all []Migration) error {
	if version == 0 {
		return store.ErrEmpty
	}
	_, _, err := Next(version, all)
	return err
}
