package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"apibuilder/store"
)

// BeatNode is as in store.Store.
func (s *Store) BeatNode(ctx context.Context, n store.Node) error {
	if err := n.Valid(); err != nil {
		return fmt.Errorf("note that the node lives: %w", err)
	}
	now := store.Stamp(noTime)
	err := s.write(ctx, func(u *unit) error {
		_, err := u.ExecContext(ctx, "DELETE FROM nodes WHERE seen_at < ? AND id <> ?", micros(now.Add(-store.NodeMemory)), n.ID)
		if err != nil {
			return err
		}
		_, err = u.ExecContext(ctx, `INSERT INTO nodes (id, name, version, address, keys, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, address = excluded.address, keys = excluded.keys,
				started_at = excluded.started_at, seen_at = max(seen_at, excluded.seen_at)`,
			n.ID, n.Name, n.Version, n.Address, n.Keys, micros(store.Stamp(n.StartedAt)), micros(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("note that the node lives: %w", err)
	}
	return nil
}

// Nodes is as in store.Store.
func (s *Store) Nodes(ctx context.Context) (all []store.Node, err error) {
	err = s.read(func() error {
		now := time.Now()
		all, err = list(ctx, s.reader, func(rows *sql.Rows) (n store.Node, err error) {
			var started, seen sql.NullInt64
			err = rows.Scan(&n.ID, &n.Name, &n.Version, &n.Address, &n.Keys, &started, &seen)
			n.StartedAt, n.SeenAt = fromMicros(started), fromMicros(seen)
			n.Silent = max(now.Sub(n.SeenAt), 0)
			return n, err
		}, "SELECT id, name, version, address, keys, started_at, seen_at FROM nodes ORDER BY name, id")
		return err
	})
	return all, err
}

// RemoveNode is as in store.Store.
func (s *Store) RemoveNode(ctx context.Context, id string) error {
	err := s.write(ctx, func(u *unit) error {
		_, err := u.ExecContext(ctx, "DELETE FROM nodes WHERE id = ?", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget the node: %w", err)
	}
	return nil
}

// Reactivate is as in store.Store.
func (s *Store) Reactivate(ctx context.Context, apiID string, from, to int) (done bool, err error) {
	err = s.write(ctx, func(u *unit) error {
		api, err := findAPI(ctx, u, "WHERE id = ?1", apiID)
		if err != nil || api.ActiveVersion != from {
			return err
		}
		done = true
		if to == 0 {
			u.changed(apiID)
			return must(u.ExecContext(ctx, "UPDATE apis SET active_version = 0 WHERE id = ?", apiID))
		}
		return activate(ctx, u, apiID, to)
	})
	if err != nil {
		return false, fmt.Errorf("reactivate: %w", err)
	}
	return done, nil
}

// AbandonAPI is as in store.Store.
func (s *Store) AbandonAPI(ctx context.Context, id string, number int) (done bool, err error) {
	err = s.write(ctx, func(u *unit) error {
		api, err := findAPI(ctx, u, "WHERE id = ?1", id)
		if err != nil || api.ActiveVersion != 0 {
			return err
		}
		var others int
		err = u.QueryRowContext(ctx, "SELECT count(*) FROM versions WHERE api_id = ? AND number <> ?", id, number).Scan(&others)
		if err != nil || others > 0 {
			return err
		}
		done = true
		u.changed(id)
		return must(u.ExecContext(ctx, "DELETE FROM apis WHERE id = ?", id))
	})
	if err != nil {
		return false, fmt.Errorf("abandon api: %w", err)
	}
	return done, nil
}
