package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// BeatNode is as in store.Store.
func (s *Store) BeatNode(ctx context.Context, n store.Node) error {
	if err := n.Valid(); err != nil {
		return fmt.Errorf("note that the node lives: %w", err)
	}
	err := s.read(ctx, func() error {
		_, err := s.pool.Exec(ctx, `WITH forgotten AS (DELETE FROM apibuilder_nodes WHERE seen_at < now() - make_interval(secs => $5) AND id <> $1)
			INSERT INTO apibuilder_nodes AS n (id, name, version, address, started_at, keys) VALUES ($1, $2, $3, $4, coalesce($6, now()), $7)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, address = excluded.address, keys = excluded.keys,
				started_at = excluded.started_at, seen_at = greatest(n.seen_at, now())`,
			n.ID, n.Name, n.Version, n.Address, store.NodeMemory.Seconds(), nullTime(n.StartedAt), n.Keys)
		return err
	})
	if err != nil {
		return fmt.Errorf("note that the node lives: %w", err)
	}
	return nil
}

// Nodes is as in store.Store.
func (s *Store) Nodes(ctx context.Context) (all []store.Node, err error) {
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanNode, `SELECT id, name, version, address, keys, started_at, seen_at,
			extract(epoch FROM greatest(now() - seen_at, interval '0'))::float8 FROM apibuilder_nodes ORDER BY name, id`)
		return err
	})
	return all, err
}

// NodesAt lists the nodes of a database as it is, also one with an older schema, with their ID, Name and Silent alone. It changes nothing.
func NodesAt(ctx context.Context, url string) (all []store.Node, err error) {
	s, err := OpenToRead(ctx, url)
	if errors.Is(err, store.ErrEmpty) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var there bool
	err = s.read(ctx, func() error {
		return s.pool.QueryRow(ctx, "SELECT to_regclass('apibuilder_nodes') IS NOT NULL").Scan(&there)
	})
	if err != nil || !there {
		return nil, err
	}
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, func(rows pgx.Rows) (n store.Node, err error) {
			var silent float64
			err = rows.Scan(&n.ID, &n.Name, &silent)
			n.Silent = seconds(silent)
			return n, err
		}, "SELECT id, name, extract(epoch FROM greatest(now() - seen_at, interval '0'))::float8 FROM apibuilder_nodes ORDER BY name, id")
		return err
	})
	return all, err
}

func scanNode(rows pgx.Rows) (n store.Node, err error) {
	var silent float64
	err = rows.Scan(&n.ID, &n.Name, &n.Version, &n.Address, &n.Keys, &n.StartedAt, &n.SeenAt, &silent)
	n.StartedAt, n.SeenAt, n.Silent = n.StartedAt.UTC(), n.SeenAt.UTC(), seconds(silent)
	return n, err
}

// RemoveNode is as in store.Store.
func (s *Store) RemoveNode(ctx context.Context, id string) error {
	err := s.read(ctx, func() error {
		_, err := s.pool.Exec(ctx, "DELETE FROM apibuilder_nodes WHERE id = $1", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget the node: %w", err)
	}
	return nil
}

// Reactivate is as in store.Store. The row of the API is locked as AddVersion does.
func (s *Store) Reactivate(ctx context.Context, apiID string, from, to int) (done bool, err error) {
	err = s.write(ctx, func(u *unit) error {
		done = false
		api, err := findAPI(ctx, u, "WHERE id = $1 FOR UPDATE", apiID)
		if err != nil || api.ActiveVersion != from {
			return err
		}
		done = true
		if to == 0 {
			u.changed(apiID)
			return must(u.Exec(ctx, "UPDATE apibuilder_apis SET active_version = 0 WHERE id = $1", apiID))
		}
		return s.activate(ctx, u, apiID, to)
	})
	if err != nil {
		return false, fmt.Errorf("reactivate: %w", err)
	}
	return done, nil
}

// AbandonAPI is as in store.Store. Who adds a version waits for the API's row, and who waited here sees it.
func (s *Store) AbandonAPI(ctx context.Context, id string, number int) (done bool, err error) {
	err = s.write(ctx, func(u *unit) error {
		done = false
		api, err := findAPI(ctx, u, "WHERE id = $1 FOR UPDATE", id)
		if err != nil || api.ActiveVersion != 0 {
			return err
		}
		var others int
		err = u.QueryRow(ctx, "SELECT count(*) FROM apibuilder_versions WHERE api_id = $1 AND number <> $2", id, number).Scan(&others)
		if err != nil || others > 0 {
			return err
		}
		done = true
		u.changed(id)
		return must(u.Exec(ctx, "DELETE FROM apibuilder_apis WHERE id = $1", id))
	})
	if err != nil {
		return false, fmt.Errorf("abandon api: %w", err)
	}
	return done, nil
}
