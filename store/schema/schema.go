// Package schema holds the steps by which the tables of a store came to be: files that a driver embeds, each run once, in the
// order of their numbers.
package schema

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// ErrNewer says that the database was written by a newer version of this program.
var ErrNewer = errors.New("database is newer than this program")

// Migration is one step. A released one is never changed.
type Migration struct {
	Version int // from 1, without gaps
	Name    string
	SQL     string
}

// Migrations returns those in the directory "migrations" of files, oldest first. It panics when a file's name is not its
// number and a word, which a driver's test rules out.
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
		if err != nil || version != len(all)+1 {
			panic(fmt.Sprintf("migration %s: want number %d", path, len(all)+1))
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			panic(err)
		}
		all = append(all, Migration{version, name, string(text)})
	}
	return all
}

// Done reports whether a schema of that version has all migrations; an ErrNewer when it has more.
func Done(version int, all []Migration) (bool, error) {
	if version > len(all) {
		return false, fmt.Errorf("%w: its schema has version %d, this program knows %d; run the newer program, or restore "+
			"the backup from before the upgrade", ErrNewer, version, len(all))
	}
	return version == len(all), nil
}
