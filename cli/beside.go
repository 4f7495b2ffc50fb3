package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/admin"
	"apibuilder/store"
	"apibuilder/store/postgres"
	"apibuilder/store/sqlite"
)

// source is a store that is looked at beside its server.
type source interface {
	store.Dumper
	EnvironmentUses(ctx context.Context) ([]store.EnvironmentUse, error)
	Nodes(ctx context.Context) ([]store.Node, error)
	Close() error
}

// openToRead opens the store that serve would use, and leaves it as it is: an older server may run with it, which could not be started again
// on a newer schema.
func openToRead(ctx context.Context, s settings, data *dataDir) (source, error) {
	url, err := databaseURL(s)
	if err != nil {
		return nil, err
	}
	if url.reveal() != "" {
		st, err := postgres.OpenToRead(ctx, url.reveal())
		if err != nil {
			return nil, err
		}
		return st, nil
	}
	st, err := sqlite.OpenToRead(ctx, data.join("apibuilder.db"))
	if err != nil {
		return nil, err
	}
	return st, nil
}

// errOtherStore says that the settings here name another store than that of the data directory's server.
var errOtherStore = errors.New("the server of this data directory has another store: name its database here as it is named to the server, " +
	"with APIBUILDER_DATABASE_URL or --database-url-file; where it is just starting or stopping, try again")

// ofRunning returns errOtherStore where a server runs on a data directory and a store does not know of it, and another error where that cannot be
// told. Its database may be named in the
// environment of its service, which a shell lacks, and there may be a file of before it had one.
func ofRunning(ctx context.Context, st interface {
	Nodes(ctx context.Context) ([]store.Node, error)
}, data *dataDir,
) error {
	if runs, err := serverRuns(data); err != nil || !runs {
		return err
	}
	id, err := os.ReadFile(data.join("node"))
	if errors.Is(err, fs.ErrNotExist) { // it has not begun yet
		return errOtherStore
	}
	if err != nil {
		return fmt.Errorf("read the node's id: %w", err)
	}
	all, err := st.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("look for the server that runs in the store: %w", err)
	}
	at := slices.IndexFunc(all, func(n store.Node) bool { return n.ID == strings.TrimSpace(string(id)) })
	if at < 0 {
		return errOtherStore
	}
	if silent := all[at].Silent; silent >= store.NodeSilence { // it was killed when it had this store, or cannot write to it
		return fmt.Errorf("the store has not heard of the server that runs for %s: it may have another one, or its disk is full", silent.Round(time.Second))
	}
	return nil
}

// neverServed returns errOtherStore for a data directory without a database that a server had all the same.
func neverServed(data *dataDir) error {
	_, err := os.Stat(data.join("node"))
	switch {
	case err == nil:
		return errOtherStore
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("look for the node's id: %w", err)
}

// serverRuns reports whether a server listens on the data directory's socket. Its lock is not tried, which would keep one from starting.
func serverRuns(data *dataDir) (bool, error) {
	at, err := admin.OpenDirectory(data.path)
	if err != nil {
		return false, err
	}
	defer at.Close()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: at.At(admin.SocketName), Net: "unix"})
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED):
		return false, nil
	case errors.Is(err, unix.EAGAIN): // more than it takes wait for it
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look for a server on %s: %w", data.path, err)
	}
	return true, conn.Close()
}
