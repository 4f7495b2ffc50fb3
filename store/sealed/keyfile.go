package sealed

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"
)

// KeyFile is a file of age identities, one a line, as age-keygen writes them: what is sealed is sealed for the first, and opened
// with any. It must be readable by its owner alone. Safe for concurrent use.
type KeyFile struct {
	path string

	mu   sync.RWMutex
	keys []*age.X25519Identity // never empty
}

// Path is where the file is.
func (f *KeyFile) Path() string { return f.path }

// ReadKeyFile reads a key file; an fs.ErrNotExist when there is none. Its errors never repeat what is in it.
func ReadKeyFile(path string) (*KeyFile, error) {
	keys, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	return &KeyFile{path: path, keys: keys}, nil
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
	f := &KeyFile{path: path, keys: []*age.X25519Identity{key}}
	return f, f.write(f.keys)
}

func readKeys(path string) ([]*age.X25519Identity, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s is no file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s can be read by others: run `chmod 600 %s`", path, path)
	}
	keys, err := ParseKeys(file)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return keys, nil
}

// ParseKeys reads the text of a key file. Its errors name the line and never repeat it.
func ParseKeys(r io.Reader) ([]*age.X25519Identity, error) {
	var keys []*age.X25519Identity
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := age.ParseX25519Identity(line)
		if err != nil {
			return nil, fmt.Errorf("line %d is no age identity (AGE-SECRET-KEY-1...)", n)
		}
		keys = append(keys, key)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no age identity (AGE-SECRET-KEY-1...)")
	}
	return keys, nil
}

// write puts the keys aside and then under the file's name, so that the file is whole at any moment.
func (f *KeyFile) write(keys []*age.X25519Identity) (err error) {
	var text bytes.Buffer
	text.WriteString("# apibuilder: opens the secrets in the store. Without it they are lost.\n# The first key seals, all of them open.\n")
	for _, k := range keys {
		fmt.Fprintln(&text, k)
	}
	aside, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+"-*") // mode 0600
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
	if err := os.Rename(aside.Name(), f.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.path))
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
	if err := f.write(all); err != nil {
		return err
	}
	f.keys = all
	return nil
}

func contains(keys []*age.X25519Identity, k *age.X25519Identity) bool {
	for _, one := range keys {
		if one.String() == k.String() {
			return true
		}
	}
	return false
}

// addKey puts a new key first, in the file before anything is sealed for it.
func (f *KeyFile) addKey() error {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := append([]*age.X25519Identity{key}, f.keys...)
	if err := f.write(all); err != nil {
		return err
	}
	f.keys = all
	return nil
}

// dropOld removes all keys but the first.
func (f *KeyFile) dropOld() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.write(f.keys[:1]); err != nil {
		return err
	}
	f.keys = f.keys[:1:1]
	return nil
}

// reload reads the file again, for whoever has put another there.
func (f *KeyFile) reload() error {
	keys, err := readKeys(f.path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = keys
	return nil
}

// seal encrypts for the first key.
func (f *KeyFile) seal(plain []byte) (string, error) {
	f.mu.RLock()
	to := f.keys[0].Recipient()
	f.mu.RUnlock()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
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
