package postgres

import (
	"context"
	"fmt"
	"time"
)

// Ahead is how far this machine's clock is ahead of the database's, but for the time that the question takes; below zero it is behind.
func (s *Store) Ahead(ctx context.Context) (ahead time.Duration, err error) {
	err = s.read(ctx, func() error {
		ahead, err = s.ahead(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("compare clocks: %w", err)
	}
	return ahead, nil
}

func (s *Store) ahead(ctx context.Context) (time.Duration, error) {
	now := s.now() // before the question: what the answer takes makes nothing older
	var database int64
	err := s.pool.QueryRow(ctx, `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`).Scan(&database)
	return now.Sub(time.UnixMicro(database)), err
}
