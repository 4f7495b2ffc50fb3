package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

const answerColumns = `id, owner, fingerprint, created_at, expires_at, worked_until, text`

func scanAnswer(rows pgx.Rows) (store.Answer, error) {
	var a store.Answer
	var id, fingerprint []byte
	var created, expires, worked *int64
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
		claimed = false
		if _, err := u.Exec(ctx, store.Numbered(`DELETE FROM apibuilder_answers WHERE expires_at <= ?`), micros(a.CreatedAt)); err != nil {
			return err
		}
		for !claimed {
			tag, err := u.Exec(ctx, store.Numbered(`INSERT INTO apibuilder_answers (`+answerColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`),
				a.ID[:], a.Owner, a.Fingerprint[:], micros(a.CreatedAt), micros(a.ExpiresAt), micros(a.WorkedUntil), []byte{})
			if err != nil {
				return err
			}
			if claimed = tag.RowsAffected() == 1; claimed {
				break
			}
			there, err = first(ctx, u, scanAnswer, store.Numbered(`SELECT `+answerColumns+` FROM apibuilder_answers WHERE id = ?`), a.ID[:])
			if !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			// It was dropped or has expired in between: each statement sees what is committed when it begins.
		}
		there = a
		_, err := u.Exec(ctx, store.Numbered(`DELETE FROM apibuilder_answers WHERE id IN (SELECT id FROM apibuilder_answers WHERE owner = ? ORDER BY created_at DESC LIMIT ALL OFFSET ?)`), a.Owner, store.KeptAnswers)
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
		err := must(u.Exec(ctx, store.Numbered(`UPDATE apibuilder_answers SET worked_until = ?, text = ? WHERE id = ? AND length(text) = 0`),
			micros(store.Stamp(workedUntil)), text, id[:]))
		if err != nil || len(text) <= store.ShortAnswer {
			return err
		}
		_, err = u.Exec(ctx, store.Numbered(`DELETE FROM apibuilder_answers WHERE length(text) > 0 AND id IN (
			SELECT id FROM (SELECT id, sum(length(text)) OVER (ORDER BY created_at DESC, id) AS bytes FROM apibuilder_answers
				WHERE owner = (SELECT owner FROM apibuilder_answers WHERE id = ?)) s WHERE bytes > ?)`), id[:], store.KeptAnswerBytes)
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
		_, err := u.Exec(ctx, store.Numbered(`DELETE FROM apibuilder_answers WHERE id = ? AND length(text) = 0`), id[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("drop an answer: %w", err)
	}
	return nil
}
