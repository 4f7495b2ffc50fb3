// Package sealed is a layer over a store.Store that keeps secrets encrypted in it: the environment variables of versions. They are
// sealed by age (https://age-encryption.org/v1) for a key in a file beside the store, and opened for whoever reads a version
// through the layer. What lies below sees ciphertext alone, dumps and backups too.
//
// A sealed environment is stored as one variable whose name no program can have, with the ciphertext for its value. Plain ones from
// before are read as they are, and sealed when the layer is opened.
package sealed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"

	"filippo.io/age"

	"apibuilder/store"
)

// variable is the name under which a sealed environment is stored.
const variable = "age-encryption.org/v1"

// Rewriter is what a driver offers to change stored environments; both do.
type Rewriter interface {
	// RewriteEnv calls fn with every environment that is not empty, and stores what it returns where that differs, all or nothing. It
	// returns how many were changed. Nothing but the environments changes. fn may be called again from the beginning.
	RewriteEnv(ctx context.Context, fn func(apiID string, number int, env map[string]string) (map[string]string, error)) (int, error)
}

// Below is what the layer lies on.
type Below interface {
	store.Store
	Rewriter
}

// Store is a store.Store with the contracts of the one below. Make one with Open.
type Store struct {
	store.Store
	below Below
	keys  *KeyFile
	// Held to read while a version is sealed and added, so that Rotate leaves none behind that was sealed for an older key.
	adding sync.RWMutex
}

// Open lays the layer over st, with the keys in a file. One is made where there is none and nothing is sealed yet. Environments that are
// plain are sealed. A file that does not open what is sealed is an error that names it: no other file is made, nothing is changed. Closing
// the Store closes st; an error leaves it open.
func Open(ctx context.Context, st Below, path string) (*Store, error) {
	keys, err := ReadKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		keys, err = firstKeyFile(ctx, st, path)
	}
	if err != nil {
		return nil, err
	}
	s := &Store{Store: st, below: st, keys: keys}
	checked := false
	_, err = st.RewriteEnv(ctx, func(apiID string, number int, env map[string]string) (map[string]string, error) {
		if !isSealed(env) {
			return s.seal(env)
		}
		if !checked { // one stands for all: to open each would hold up the start of a large server
			checked = true
			_, err := s.open(apiID, number, env)
			return env, err
		}
		return env, nil
	})
	if err != nil {
		return nil, fmt.Errorf("seal what is plain in the store: %w", err)
	}
	return s, nil
}

// Check reports, as an error that names the key file, why it does not open what is sealed in st; nil where nothing is. It changes nothing.
func Check(ctx context.Context, st Below, path string) error {
	s := &Store{}
	_, err := st.RewriteEnv(ctx, func(apiID string, number int, env map[string]string) (map[string]string, error) {
		if !isSealed(env) || s.keys != nil {
			return env, nil
		}
		var err error
		if s.keys, err = ReadKeyFile(path); err != nil {
			return nil, err
		}
		_, err = s.open(apiID, number, env)
		return env, err
	})
	return err
}

// firstKeyFile makes a key file, unless another one is missing.
func firstKeyFile(ctx context.Context, st Below, path string) (*KeyFile, error) {
	_, err := st.RewriteEnv(ctx, func(_ string, _ int, env map[string]string) (map[string]string, error) {
		if isSealed(env) {
			return nil, fmt.Errorf("the store holds environment variables that are encrypted, and there is no key file %s: put the file there "+
				"that they were encrypted with, or name it with --secrets-key", path)
		}
		return env, nil
	})
	if err != nil {
		return nil, err
	}
	return NewKeyFile(path)
}

func isSealed(env map[string]string) bool {
	_, ok := env[variable]
	return ok
}

func (s *Store) seal(env map[string]string) (map[string]string, error) {
	plain, err := json.Marshal(env)
	if err != nil {
		return nil, err
	}
	text, err := s.keys.seal(plain)
	return map[string]string{variable: text}, err
}

func sealedFor(key *age.X25519Identity, env map[string]string) (map[string]string, error) {
	plain, err := json.Marshal(env)
	if err != nil {
		return nil, err
	}
	text, err := sealFor(key, plain)
	return map[string]string{variable: text}, err
}

func (s *Store) open(apiID string, number int, env map[string]string) (map[string]string, error) {
	if !isSealed(env) {
		return env, nil
	}
	plain, err := s.keys.open(env[variable])
	if errors.Is(err, errWrongKey) {
		return nil, fmt.Errorf("environment of version %d of %s: the key file %s does not open it: put the file there that it was encrypted "+
			"with, or add the lines of that file", number, apiID, s.keys.path)
	}
	if err != nil {
		return nil, fmt.Errorf("environment of version %d of %s: %w", number, apiID, err)
	}
	return store.DecodeEnv(plain)
}

// AddVersion is as in store.Store.
func (s *Store) AddVersion(ctx context.Context, v store.Version) (store.Version, error) {
	if err := v.Valid(); err != nil { // the one below sees no names and values
		return store.Version{}, fmt.Errorf("add version: %w", err)
	}
	if isSealed(v.Env) {
		return store.Version{}, fmt.Errorf("add version: %w: an environment variable cannot be called %s", store.ErrInvalid, variable)
	}
	if len(v.Env) == 0 {
		return s.below.AddVersion(ctx, v)
	}
	plain := maps.Clone(v.Env)
	s.adding.RLock()
	defer s.adding.RUnlock()
	var err error
	if v.Env, err = s.seal(plain); err != nil {
		return store.Version{}, fmt.Errorf("add version: %w", err)
	}
	v, err = s.below.AddVersion(ctx, v)
	if err == nil {
		v.Env = plain
	}
	return v, err
}

// Version is as in store.Store.
func (s *Store) Version(ctx context.Context, apiID string, number int) (store.Version, error) {
	v, err := s.below.Version(ctx, apiID, number)
	if err != nil {
		return v, err
	}
	return s.opened(v)
}

func (s *Store) opened(v store.Version) (store.Version, error) {
	var err error
	if v.Env, err = s.open(v.APIID, v.Number, v.Env); err != nil {
		return store.Version{}, err
	}
	return v, nil
}

// Prepare puts a new key into the file that opens and does not seal yet, so that other nodes can be given it before it is used. One that
// was prepared before stays.
func (s *Store) Prepare() error { return s.keys.prepare() }

// KeyNames are short names of the keys in the file as it is now, which tell nothing about them: all, the one that seals first, and the one that
// was prepared, empty if none was.
func (s *Store) KeyNames() (all []string, prepared string) {
	s.keys.refresh()
	return s.keys.ids()
}

// Rotate encrypts everything anew and returns how many environments that were. With newKey it is for the prepared key, or a new one, which is
// in the file first; else for the first key of the file, which is read again. The keys before stay in the file, because backups were made with them,
// unless dropOld says that they go once nothing in the store needs them.
func (s *Store) Rotate(ctx context.Context, newKey, dropOld bool) (int, error) {
	s.adding.Lock()
	defer s.adding.Unlock()
	if newKey {
		if err := s.keys.advance(); err != nil {
			return 0, err
		}
	}
	keys, err := s.keys.all()
	if err != nil {
		return 0, err
	}
	n, err := s.below.RewriteEnv(ctx, func(apiID string, number int, env map[string]string) (map[string]string, error) {
		plain, err := s.open(apiID, number, env)
		if err != nil {
			return nil, err
		}
		return sealedFor(keys[0], plain) // whatever is first in the file by now
	})
	if err == nil && dropOld {
		err = s.keys.drop(keys[1:], keys[0])
	}
	if err != nil {
		return n, fmt.Errorf("rotate secrets: %w", err)
	}
	return n, nil
}
