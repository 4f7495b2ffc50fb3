package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

const userColumns = `id, name, plan, created_at`

func scanUser(rows pgx.Rows) (store.User, error) {
	var u store.User
	var created *int64
	err := rows.Scan(&u.ID, &u.Name, &u.Plan, &created)
	u.CreatedAt = fromMicros(created)
	return u, err
}

func checkUser(ctx context.Context, q queryer, id string) error {
	_, err := first(ctx, q, scanUser, `SELECT `+userColumns+` FROM apibuilder_users WHERE id = $1`, id)
	return about("user", id, err)
}

// CreateUser is as in store.Store; ErrNotFound when the plan is missing.
func (s *Store) CreateUser(ctx context.Context, user store.User) (store.User, error) {
	if err := user.Valid(); err != nil {
		return store.User{}, fmt.Errorf("create user: %w", err)
	}
	user.CreatedAt = store.Stamp(user.CreatedAt)
	err := s.write(ctx, func(u *unit) error {
		if _, err := findPlan(ctx, u, user.Plan); err != nil {
			return err
		}
		_, err := u.Exec(ctx, `INSERT INTO apibuilder_users (`+userColumns+`) VALUES ($1, $2, $3, $4)`,
			user.ID, user.Name, user.Plan, micros(user.CreatedAt))
		u.changed("")
		return about("user", user.Name, err)
	})
	if err != nil {
		return store.User{}, fmt.Errorf("create user: %w", err)
	}
	return user, nil
}

// User is as in store.Store; where one user's id is another's name, the id wins.
func (s *Store) User(ctx context.Context, idOrName string) (user store.User, err error) {
	if !storable(idOrName) {
		return store.User{}, about("user", idOrName, store.ErrNotFound)
	}
	err = s.read(ctx, func() error {
		user, err = first(ctx, s.pool, scanUser,
			`SELECT `+userColumns+` FROM apibuilder_users WHERE id = $1 OR name = $1 ORDER BY id = $1 DESC LIMIT 1`, idOrName)
		return about("user", idOrName, err)
	})
	return user, err
}

// Users lists them by name.
func (s *Store) Users(ctx context.Context) (all []store.User, err error) {
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanUser, `SELECT `+userColumns+` FROM apibuilder_users ORDER BY name`)
		return err
	})
	return all, err
}

// SetUserPlan is as in store.Store.
func (s *Store) SetUserPlan(ctx context.Context, userID, plan string, checks ...store.Check[store.User]) error {
	if !storable(userID) {
		return about("user", userID, store.ErrNotFound)
	}
	err := s.write(ctx, func(u *unit) error {
		now, err := first(ctx, u, scanUser, `SELECT `+userColumns+` FROM apibuilder_users WHERE id = $1 FOR UPDATE`, userID)
		if err != nil {
			return about("user", userID, err)
		}
		if err := store.Pass(now, checks); err != nil {
			return err
		}
		if _, err := findPlan(ctx, u, plan); err != nil {
			return err
		}
		u.changed("")
		return about("user", userID, must(u.Exec(ctx, `UPDATE apibuilder_users SET plan = $1 WHERE id = $2`, plan, userID)))
	})
	if err != nil {
		return fmt.Errorf("set plan: %w", err)
	}
	return nil
}
