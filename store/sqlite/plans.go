package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"apibuilder/store"
)

const planColumns = `name, rate_requests, rate_per_ns, memory_bytes, cpu, pids, max_memory_bytes, max_cpu, max_pids, quota, max_instances,
	max_min_instances`

func scanPlan(rows *sql.Rows) (store.Plan, error) {
	var p store.Plan
	err := rows.Scan(&p.Name, &p.Rate.Requests, &p.Rate.Per, &p.Limits.MemoryBytes, &p.Limits.CPU, &p.Limits.Pids,
		&p.Ceiling.MemoryBytes, &p.Ceiling.CPU, &p.Ceiling.Pids, &p.Quota, &p.Instances.Max, &p.Instances.Min)
	return p, err
}

func findPlan(ctx context.Context, q queryer, name string) (store.Plan, error) {
	p, err := first(ctx, q, scanPlan, `SELECT `+planColumns+` FROM plans WHERE name = ?`, name)
	return p, about("plan", name, err)
}

// PutPlan is as in store.Store.
func (s *Store) PutPlan(ctx context.Context, p store.Plan) error {
	if err := p.Valid(); err != nil {
		return fmt.Errorf("put plan: %w", err)
	}
	err := s.write(ctx, func(u *unit) error {
		_, err := u.ExecContext(ctx, `INSERT INTO plans (`+planColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET rate_requests = excluded.rate_requests, rate_per_ns = excluded.rate_per_ns,
			memory_bytes = excluded.memory_bytes, cpu = excluded.cpu, pids = excluded.pids,
			max_memory_bytes = excluded.max_memory_bytes, max_cpu = excluded.max_cpu, max_pids = excluded.max_pids, quota = excluded.quota,
			max_instances = excluded.max_instances, max_min_instances = excluded.max_min_instances`,
			p.Name, p.Rate.Requests, p.Rate.Per, p.Limits.MemoryBytes, p.Limits.CPU, p.Limits.Pids,
			p.Ceiling.MemoryBytes, p.Ceiling.CPU, p.Ceiling.Pids, p.Quota, p.Instances.Max, p.Instances.Min)
		u.changed("")
		return about("plan", p.Name, err)
	})
	if err != nil {
		return fmt.Errorf("put plan: %w", err)
	}
	return nil
}

// Plan is as in store.Store.
func (s *Store) Plan(ctx context.Context, name string) (p store.Plan, err error) {
	err = s.read(func() error {
		p, err = findPlan(ctx, s.reader, name)
		return err
	})
	return p, err
}

// Plans lists them by name.
func (s *Store) Plans(ctx context.Context) (all []store.Plan, err error) {
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanPlan, `SELECT `+planColumns+` FROM plans ORDER BY name`)
		return err
	})
	return all, err
}
