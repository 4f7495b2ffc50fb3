package sqlite

import (
	"context"
	"database/sql"
	"sync"
)

// statements are those of the writing connection that every batch of usage records runs. To parse them costs as much as many
// rows, so they are prepared once. The zero value is ready; safe for concurrent use. Closing the database closes them.
type statements struct {
	mu  sync.Mutex
	all map[string]*sql.Stmt
}

// prepare makes what is not there yet. It needs the connection, so it must not be called in a transaction.
func (s *statements) prepare(ctx context.Context, db *sql.DB, texts []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[string]*sql.Stmt, len(texts))
	}
	for _, text := range texts {
		if s.all[text] != nil {
			continue
		}
		statement, err := db.PrepareContext(ctx, text) //nolint:sqlclosecheck // closed with the database
		if err != nil {
			return err
		}
		s.all[text] = statement
	}
	return nil
}

// in is a prepared statement for a transaction, whose end it needs no closing for.
func (s *statements) in(ctx context.Context, tx *sql.Tx, text string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tx.StmtContext(ctx, s.all[text])
}
