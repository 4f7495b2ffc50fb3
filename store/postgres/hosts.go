package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// Both are answered by an index of the APIs that have a host.
const (
	hostsSQL = `SELECT options::jsonb->>'host', id FROM apibuilder_apis WHERE options::jsonb ? 'host' AND options::jsonb->>'host' <> ''`
	takenSQL = hostsSQL + ` AND options::jsonb->>'host' = $1 AND id <> $2`
)

type mapping struct{ host, id string }

func scanMapping(rows pgx.Rows) (m mapping, err error) {
	err = rows.Scan(&m.host, &m.id)
	return m, err
}

// Hosts is as in store.Store.
func (s *Store) Hosts(ctx context.Context) (hosts map[string]string, err error) {
	err = s.read(ctx, func() error {
		all, err := list(ctx, s.pool, scanMapping, hostsSQL)
		hosts = make(map[string]string, len(all))
		for _, m := range all {
			hosts[m.host] = m.id
		}
		return err
	})
	return hosts, err
}

// checkHost refuses a host that is another API's, by its name. Writers of hosts take turns until their transactions end; an index sees to it
// that those who do not, as other programs, make none twice either.
func checkHost(ctx context.Context, u *unit, a store.API) error {
	if a.Options.Host == "" {
		return nil
	}
	_, err := u.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('apibuilder hosts of ' || current_schema(), 0))")
	if err != nil {
		return about("host", a.Options.Host, err)
	}
	taken, err := list(ctx, u, scanMapping, takenSQL, a.Options.Host, a.ID)
	if err == nil && len(taken) > 0 {
		err = store.ErrConflict
	}
	return about("host", a.Options.Host, err)
}
