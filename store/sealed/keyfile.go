package sealed

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"filippo.io/age"
)

// KeyFile is a file of age identities, one a line, as age-keygen writes them: what is sealed is sealed for the first, and opened
// with any. It must be readable by its owner alone. A file that was put there anew counts from the next time that something is sealed, does
// not open, or is asked about. Safe for concurrent use.
type KeyFile struct {
	path   string
	openAt func(path string) (fs.File, error)

	mu   sync.RWMutex          // held while the file is read or written, too: what is known is never older than what was written
	keys []*age.X25519Identity // never empty
	next *age.X25519Identity   // one of keys, for which the next rotation is; nil: none was prepared
	read fs.FileInfo           // of the file, when it was read
}

// nextMark is the line before the key for which the next rotation is.
const nextMark = "# prepared for the next rotation"

// Path is where the file is.
func (f *KeyFile) Path() string { return f.path }

// ReadKeyFile reads a key file; an fs.ErrNotExist when there is none. Its errors never repeat what is in it.
func ReadKeyFile(path string) (*KeyFile, error) {
	f := &KeyFile{path: path, openAt: openFile}
	if err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// NewKeyFile makes a file with one new key, mode 0600, on disk when it returns. One that is there is an fs.ErrExist.
func NewKeyFile(path string) (*KeyFile, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("make key file %s: %w", path, fs.ErrExist)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	f := &KeyFile{path: path, openAt: openFile, keys: []*age.X25519Identity{key}}
	return f, f.write(f.keys, nil)
}

// CopyKeyFile makes a file with the keys of a text, the prepared one among them, as NewKeyFile does. Its errors never repeat the text.
func CopyKeyFile(path string, text []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("make key file %s: %w", path, fs.ErrExist)
	}
	keys, next, err := parseKeys(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return (&KeyFile{path: path}).write(keys, next)
}

// openFile does not wait for the other end of a pipe.
func openFile(path string) (fs.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// reload reads the file again, for whoever has put another there.
func (f *KeyFile) reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reloadLocked()
}

func (f *KeyFile) reloadLocked() error {
	file, err := f.openAt(f.path)
	if err != nil {
		return fmt.Errorf("read key file: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("key file %s is no file", f.path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("key file %s can be read by others: run `chmod 600 %s`", f.path, f.path)
	}
	keys, next, err := parseKeys(file)
	if err != nil {
		return fmt.Errorf("key file %s: %w", f.path, err)
	}
	f.keys, f.next, f.read = keys, next, info
	return nil
}

// refresh reads the file again if another was put there. One that cannot be read, perhaps because it is half copied, changes nothing.
func (f *KeyFile) refresh() {
	f.mu.RLock()
	before := f.read
	f.mu.RUnlock()
	now, err := os.Stat(f.path)
	if err == nil && (before == nil || !os.SameFile(before, now) || before.Size() != now.Size() || !before.ModTime().Equal(now.ModTime())) {
		_ = f.reload()
	}
}

// ParseKeys reads the text of a key file. Its errors name the line and never repeat it.
func ParseKeys(r io.Reader) ([]*age.X25519Identity, error) {
	keys, _, err := parseKeys(r)
	return keys, err
}

func parseKeys(r io.Reader) (keys []*age.X25519Identity, next *age.X25519Identity, err error) {
	lines := bufio.NewScanner(r)
	marked := false
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			marked = marked || line == nextMark
			continue
		}
		key, err := age.ParseX25519Identity(line)
		if err != nil {
			return nil, nil, fmt.Errorf("line %d is no age identity (AGE-SECRET-KEY-1...)", n)
		}
		keys = append(keys, key)
		if marked && len(keys) > 1 { // the first one is in use
			next = key
		}
		marked = false
	}
	if err := lines.Err(); err != nil {
		return nil, nil, err
	}
	if len(keys) == 0 {
		return nil, nil, errors.New("it holds no age identity (AGE-SECRET-KEY-1...)")
	}
	return keys, next, nil
}

// write puts the keys aside and then under the file's name, so that the file is whole at any moment. A link stays, and what it leads to is
// written.
func (f *KeyFile) write(keys []*age.X25519Identity, next *age.X25519Identity) (err error) {
	var text bytes.Buffer
	text.WriteString("# apibuilder: opens the secrets in the store. Without it they are lost.\n# The first key seals, all of them open.\n")
	for _, k := range keys {
		if k == next {
			fmt.Fprintln(&text, nextMark)
		}
		fmt.Fprintln(&text, k)
	}
	path := f.path
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at
	}
	aside, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write key file: %w", err), os.Remove(aside.Name()))
		}
	}()
	_, err = aside.Write(text.Bytes())
	if err = errors.Join(err, aside.Sync(), aside.Close()); err != nil {
		return err
	}
	if err := os.Rename(aside.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	return nil
}

// Merge adds keys to those that open, and writes the file where that changes it.
func (f *KeyFile) Merge(keys []*age.X25519Identity) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.keys[:len(f.keys):len(f.keys)]
	for _, k := range keys {
		if !contains(all, k) {
			all = append(all, k)
		}
	}
	if len(all) == len(f.keys) {
		return nil
	}
	if err := f.write(all, f.next); err != nil {
		return err
	}
	f.keys = all
	return nil
}

func contains(keys []*age.X25519Identity, k *age.X25519Identity) bool {
	return slices.ContainsFunc(keys, func(one *age.X25519Identity) bool { return same(one, k) })
}

func same(a, b *age.X25519Identity) bool { return a.String() == b.String() }

// prepare puts a new key last in the file as it is now, which opens and does not seal yet. One that was prepared before stays.
func (f *KeyFile) prepare() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.reloadLocked(); err != nil {
		return err
	}
	if f.next != nil {
		return nil
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	all := append(f.keys[:len(f.keys):len(f.keys)], key)
	if err := f.write(all, key); err != nil {
		return err
	}
	f.keys, f.next = all, key
	return nil
}

// advance puts the prepared key first, or a new one where none was prepared: in the file as it is now, before anything is sealed for it.
func (f *KeyFile) advance() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.reloadLocked(); err != nil {
		return err
	}
	key := f.next
	if key == nil {
		var err error
		if key, err = age.GenerateX25519Identity(); err != nil {
			return fmt.Errorf("make a key: %w", err)
		}
	}
	all := []*age.X25519Identity{key}
	for _, k := range f.keys {
		if k != key {
			all = append(all, k)
		}
	}
	if err := f.write(all, nil); err != nil {
		return err
	}
	f.keys, f.next = all, nil
	return nil
}

// all returns the keys of the file as it is now; what is sealed is sealed for the first.
func (f *KeyFile) all() ([]*age.X25519Identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.reloadLocked()
	return f.keys, err
}

// drop removes keys from the file as it is now. The one that is in use stays, and is put first if it is not there.
func (f *KeyFile) drop(old []*age.X25519Identity, inUse *age.X25519Identity) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.reloadLocked(); err != nil {
		return err
	}
	kept := slices.DeleteFunc(slices.Clone(f.keys), func(k *age.X25519Identity) bool { return contains(old, k) && !same(k, inUse) })
	if !contains(kept, inUse) {
		kept = slices.Insert(kept, 0, inUse)
	}
	next := f.next
	if next != nil && (!contains(kept, next) || same(next, kept[0])) {
		next = nil
	}
	if err := f.write(kept, next); err != nil {
		return err
	}
	f.keys, f.next = kept, next
	return nil
}

// ids are short names of the keys, which tell nothing about them, in the order of the file, and of the prepared one.
func (f *KeyFile) ids() (all []string, next string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, k := range f.keys {
		sum := sha256.Sum256([]byte(k.Recipient().String()))
		all = append(all, hex.EncodeToString(sum[:6]))
		if k == f.next {
			next = all[len(all)-1]
		}
	}
	return all, next
}

// seal encrypts for the first key.
func (f *KeyFile) seal(plain []byte) (string, error) {
	f.refresh()
	f.mu.RLock()
	to := f.keys[0]
	f.mu.RUnlock()
	return sealFor(to, plain)
}

func sealFor(key *age.X25519Identity, plain []byte) (string, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, key.Recipient())
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	_, err = w.Write(plain)
	if err = errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// errWrongKey says that no key of the file opens a text.
var errWrongKey = errors.New("no key in the file opens it")

// open decrypts what seal made.
func (f *KeyFile) open(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("what is sealed is damaged")
	}
	plain, err := f.decrypt(raw)
	if errors.Is(err, errWrongKey) && f.reload() == nil {
		plain, err = f.decrypt(raw)
	}
	return plain, err
}

func (f *KeyFile) decrypt(raw []byte) ([]byte, error) {
	f.mu.RLock()
	var identities []age.Identity
	for _, k := range f.keys {
		identities = append(identities, k)
	}
	f.mu.RUnlock()
	r, err := age.Decrypt(bytes.NewReader(raw), identities...)
	if _, none := errors.AsType[*age.NoIdentityMatchError](err); none {
		return nil, errWrongKey
	}
	if err != nil {
		return nil, fmt.Errorf("what is sealed is damaged: %w", err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("what is sealed is damaged: %w", err)
	}
	return plain, nil
}
