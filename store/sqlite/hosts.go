package sqlite

import (
	"context"
	"database/sql"

	"apibuilder/store"
)

// Both are answered by an index of the APIs that have a host.
const (
	hostsSQL = `SELECT json_extract(options, '$.host'), id FROM apis WHERE json_extract(options, '$.host') <> ''`
	takenSQL = hostsSQL + ` AND json_extract(options, '$.host') = ? AND id <> ?`
)

type mapping struct{ host, id string }

func scanMapping(rows *sql.Rows) (m mapping, err error) {
	err = rows.Scan(&m.host, &m.id)
	return m, err
}

// Hosts is as in store.Store.
func (s *Store) Hosts(ctx context.Context) (hosts map[string]string, err error) {
	err = s.read(func() error {
		all, err := list(ctx, s.reader, scanMapping, hostsSQL)
		hosts = make(map[string]string, len(all))
		for _, m := range all {
			hosts[m.host] = m.id
		}
		return err
	})
	return hosts, err
}

// checkHost refuses a host that is another API's. There is one writer at a time.
func checkHost(ctx context.Context, u *unit, a store.API) error {
	if a.Options.Host == "" {
		return nil
	}
	taken, err := list(ctx, u, scanMapping, takenSQL, a.Options.Host, a.ID)
	if err == nil && len(taken) > 0 {
		err = store.ErrConflict
	}
	return about("host", a.Options.Host, err)
}
