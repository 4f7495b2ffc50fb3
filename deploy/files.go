package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"apibuilder/bundle"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// MaxArchiveBytes bounds Request.Archive.
const MaxArchiveBytes = bundle.MaxArchiveBytes

// requirementsFile is read when a request of several files has no requirements text.
const requirementsFile = "requirements.txt"

// Shelf lays the files of programs out for their sandboxes; bundle.Shelf is one.
type Shelf interface {
	Find(hash string) (dir string, ok bool)
	Put(b *bundle.Bundle) (dir string, err error)
}

// SetShelf says where the files of programs are laid out. Without one, programs of several files are refused. Call it before
// anything else.
func (d *Deployer) SetShelf(s Shelf) { d.shelf = s }

// files are those of a request of several files, once it was opened.
type files struct {
	*bundle.Bundle
	hash  string
	entry bundle.Entry
}

// Open reads the request's archive, and returns the request with the code of its entry point, and with the requirements.txt
// among its files when it has no requirements text. Its error is an *Error. A request of one text it returns as it is.
func (r Request) Open() (Request, error) {
	switch {
	case len(r.Archive) == 0 && r.Entry != "":
		return r, invalid("an entry point is named, and the program is one text", "hand in an archive, or leave the entry point out")
	case len(r.Archive) == 0:
		return r, nil
	case r.Code != "":
		return r, invalid("there is both a text and an archive", "hand in one of them")
	}
	b, err := bundle.Open(r.Archive)
	if err != nil {
		return r, explainBundle(err)
	}
	entry, err := b.Entry(r.Entry)
	if err != nil {
		return r, explainBundle(err)
	}
	r.files = &files{b, b.Hash(), entry}
	code, _ := b.File(entry.Path)
	if r.Code = string(code); strings.TrimSpace(r.Code) == "" {
		return r, invalid(fmt.Sprintf("the entry point %s is empty", entry.Path), "name another module with --entry, as in `--entry pkg.main:app`")
	}
	if text, ok := b.File(requirementsFile); ok && strings.TrimSpace(r.Requirements) == "" {
		r.Requirements = string(text)
		r.progress("the requirements are those of %s", requirementsFile)
	}
	r.progress("%d files with %d bytes, beginning with %s", b.Len(), b.Bytes(), entry)
	return r, nil
}

// Files are the request's, once it was opened; nil: it is one text.
func (r Request) Files() *bundle.Bundle {
	if r.files == nil {
		return nil
	}
	return r.files.Bundle
}

// EntryPoint is where a request of several files begins, once it was opened.
func (r Request) EntryPoint() string {
	if r.files == nil {
		return ""
	}
	return r.files.entry.String()
}

// OwnModules are the names of the modules that are among the request's files.
func (r Request) OwnModules() []string {
	if r.files == nil {
		return nil
	}
	return ownModules(r.files.Bundle)
}

func ownModules(b *bundle.Bundle) []string {
	var all []string
	for name := range b.Modules() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func explainBundle(err error) error {
	if e, ok := errors.AsType[*bundle.Error](err); ok {
		return invalid(e.Error(), e.Remedy)
	}
	return err
}

// keepFiles puts the files of a request into the store, for every node and for every start.
func (d *Deployer) keepFiles(ctx context.Context, apiID string, r Request) error {
	if r.files == nil {
		return nil
	}
	archive, err := r.files.Archive() // made anew: what was handed in may hold more than its files
	if err != nil {
		return err
	}
	return d.store.PutBundle(ctx, apiID, r.files.hash, archive)
}

// filesOf returns the directory of a version's files, which is made from the store where it is not there.
func (d *Deployer) filesOf(ctx context.Context, v store.Version) (dir string, err error) {
	if v.Bundle == "" {
		return "", nil
	}
	if d.shelf == nil {
		return "", errors.New("this server has no place for programs of several files")
	}
	if dir, ok := d.shelf.Find(v.Bundle); ok {
		return dir, nil
	}
	archive, err := d.store.Bundle(ctx, v.APIID, v.Bundle)
	if err != nil {
		return "", fmt.Errorf("read the files of version %d: %w", v.Number, err)
	}
	b, err := bundle.Open(archive)
	if err == nil && b.Hash() != v.Bundle {
		err = errors.New("they are not those that were deployed")
	}
	if err != nil {
		return "", &sandbox.Exit{
			Reason: sandbox.SandboxFailed, API: v.APIID, Version: v.Number, Detail: "the files in the database cannot be used: " + err.Error(),
		}
	}
	return d.shelf.Put(b)
}
