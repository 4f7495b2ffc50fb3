// Package node is one `apibuilder serve` among those that share a store: who it is, and that it lives.
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"apibuilder/store"
)

var validID = regexp.MustCompile(`^node_[a-z2-7]{16}$`)

// Identity returns the id that the file at path holds, and makes one where there is no such file, so that a node keeps its id
// over restarts. A file that holds something else is an error that names it.
func Identity(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(path)
	}
	if err != nil {
		return "", fmt.Errorf("read the node's id: %w", err)
	}
	id := strings.TrimSpace(string(raw))
	if !validID.MatchString(id) {
		return "", fmt.Errorf("%s holds no id of a node: remove it, and the node gets a new one", path)
	}
	return id, nil
}

// newIdentity writes the file aside and renames it, so that no crash leaves half of one.
func newIdentity(path string) (id string, err error) {
	id = store.NewID("node")
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("write the node's id: %w", err)
	}
	_, err = file.WriteString(id + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return "", fmt.Errorf("write the node's id: %w", err)
	}
	return id, nil
}
