package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"apibuilder/store"
)

const answerColumns = `id, owner, fingerprint, created_at, expires_at, worked_until, text`

func scanAnswer(rows *sql.Rows) (store.Answer, error) {
	var a store.Answer
	var id, fingerprint []byte
	var created, expires, worked sql.NullInt64
	if err := rows.Scan(&id, &a.Owner, &fingerprint, &created, &expires, &worked, &a.Text); err != nil {
		return a, err
	}
	a.CreatedAt, a.ExpiresAt, a.WorkedUntil = fromMicros(created), fromMicros(expires), fromMicros(worked)
	var err error
	if a.ID, err = store.DecodeHash(id); err != nil {
		return a, err
	}
	a.Fingerprint, err = store.DecodeHash(fingerprint)
	return a, err
}

// ClaimAnswer is as in store.Store.
func (s *Store) ClaimAnswer(ctx context.Context, a store.Answer) (there store.Answer, claimed bool, err error) {
	if err := a.Valid(); err != nil {
		return store.Answer{}, false, fmt.Errorf("claim an answer: %w", err)
	}
	a.CreatedAt, a.ExpiresAt, a.WorkedUntil, a.Text = store.Stamp(a.CreatedAt), store.Stamp(a.ExpiresAt), store.Stamp(a.WorkedUntil), nil
	err = s.write(ctx, func(u *unit) error {
		if _, err := u.ExecContext(ctx, `DELETE FROM answers WHERE expires_at <= ?`, micros(a.CreatedAt)); err != nil {
			return err
		}
		result, err := u.ExecContext(ctx, `INSERT INTO answers (`+answerColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
			a.ID[:], a.Owner, a.Fingerprint[:], micros(a.CreatedAt), micros(a.ExpiresAt), micros(a.WorkedUntil), []byte{})
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		if claimed = n == 1; !claimed {
			there, err = first(ctx, u, scanAnswer, `SELECT `+answerColumns+` FROM answers WHERE id = ?`, a.ID[:])
			return err
		}
		there = a
		_, err = u.ExecContext(ctx, `DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE owner = ? ORDER BY created_at DESC LIMIT -1 OFFSET ?)`, a.Owner, store.KeptAnswers)
		return err
	})
	if err != nil {
		return store.Answer{}, false, fmt.Errorf("claim an answer: %w", err)
	}
	return there, claimed, nil
}

// KeepAnswer is as in store.Store.
func (s *Store) KeepAnswer(ctx context.Context, id [32]byte, workedUntil time.Time, text []byte) error {
	err := s.write(ctx, func(u *unit) error {
		if text == nil {
			text = []byte{}
		}
		err := must(u.ExecContext(ctx, `UPDATE answers SET worked_until = ?, text = ? WHERE id = ? AND length(text) = 0`,
			micros(store.Stamp(workedUntil)), text, id[:]))
		if err != nil || len(text) <= store.ShortAnswer {
			return err
		}
		_, err = u.ExecContext(ctx, `DELETE FROM answers WHERE length(text) > 0 AND id IN (
			SELECT id FROM (SELECT id, sum(length(text)) OVER (ORDER BY created_at DESC, id) AS bytes FROM answers
				WHERE owner = (SELECT owner FROM answers WHERE id = ?)) WHERE bytes > ?)`, id[:], store.KeptAnswerBytes)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep an answer: %w", neutral(err))
	}
	return nil
}

// DropAnswer is as in store.Store.
func (s *Store) DropAnswer(ctx context.Context, id [32]byte) error {
	err := s.write(ctx, func(u *unit) error {
		_, err := u.ExecContext(ctx, `DELETE FROM answers WHERE id = ? AND length(text) = 0`, id[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("drop an answer: %w", err)
	}
	return nil
}
