package store

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrInvalid says that what was given cannot be stored, whatever the store holds: a missing id, a name that ValidName refuses,
// text that is not UTF-8 or contains NUL (PostgreSQL stores neither). The error says which field; it never repeats a
// secret.
var ErrInvalid = errors.New("invalid")

// Valid returns nil, or an ErrInvalid that names the field. Drivers call it before they write.
func (a API) Valid() error {
	if err := ValidName(a.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return errors.Join(required("api id", a.ID), checkText("code_snapshot", a.CodeSnapshot),
		checkText("requirements", a.Requirements))
}

// Valid returns nil, or an ErrInvalid that names the field.
func (v Version) Valid() error {
	err := errors.Join(checkText("code", v.Code), checkText("requirements", v.Requirements),
		checkText("python", v.Python), checkText("environment", v.Environment), checkText("lock", v.Lock), checkText("node", v.Node),
		checkText("entry", v.Entry), checkText("bundle", v.Bundle), v.State.valid(), v.Limits.valid())
	for name, value := range v.Env {
		err = errors.Join(err, required("env name", name), checkText(fmt.Sprintf("value of env %q", name), value))
	}
	return err
}

// Succeed returns v as it is stored over old, the same version before: what v leaves empty of state and lock is old's. A
// version that left the state building stays in the state it has, and one that has a lock keeps it: another one is an
// ErrInvalid.
func (v Version) Succeed(old Version) (Version, error) {
	if v.State == "" {
		v.State = old.State
	}
	if old.State != v.State && old.State != VersionBuilding {
		return v, fmt.Errorf("%w: version %d of api %q is %s and cannot become %s: deploy a new version",
			ErrInvalid, v.Number, v.APIID, old.State, v.State)
	}
	if v.Lock == "" {
		v.Lock = old.Lock
	}
	if old.Lock != "" && old.Lock != v.Lock {
		return v, fmt.Errorf("%w: version %d of api %q has another lock: deploy a new version", ErrInvalid, v.Number, v.APIID)
	}
	return v, nil
}

// ValidBundle returns nil, or an ErrInvalid for what PutBundle does not take. Drivers call it before they write.
func ValidBundle(hash string, archive []byte) error {
	if len(archive) == 0 {
		return fmt.Errorf("%w: the archive is empty", ErrInvalid)
	}
	return required("hash", hash)
}

func (s VersionState) valid() error {
	switch s {
	case "", VersionBuilding, VersionReady, VersionFailed:
		return nil
	}
	return fmt.Errorf("%w: version state %q: use building, ready or failed", ErrInvalid, s)
}

func (l Limits) valid() error {
	if l.MemoryBytes < 0 || l.Pids < 0 || !(l.CPU >= 0) || math.IsInf(l.CPU, 0) {
		return fmt.Errorf("%w: limits of %d bytes, %v cores, %d processes: use positive numbers, or zero for the default",
			ErrInvalid, l.MemoryBytes, l.CPU, l.Pids)
	}
	return nil
}

func (i Instances) valid() error {
	if i.Max < 0 || i.Min < 0 {
		return fmt.Errorf("%w: %d instances at most, %d always: use positive numbers, or zero for no bound", ErrInvalid, i.Max, i.Min)
	}
	return nil
}

// Or is r, or RoleOperator when it is empty.
func (r Role) Or() Role {
	if r == "" {
		return RoleOperator
	}
	return r
}

func (t Token) validRole() error {
	switch t.Role {
	case "", RoleOperator:
		if t.UserID == "" {
			return nil
		}
		return fmt.Errorf("%w: a token of role operator is for no user: leave the user out", ErrInvalid)
	case RoleAuthor:
		return required("user of a token of role author", t.UserID)
	case RoleReader:
		return nil
	}
	return fmt.Errorf("%w: token role %q: use operator, author or reader", ErrInvalid, t.Role)
}

// Valid returns nil, or an ErrInvalid that names the field.
func (u User) Valid() error {
	return errors.Join(required("user id", u.ID), required("user name", u.Name))
}

// Valid returns nil, or an ErrInvalid that names the field.
func (p Plan) Valid() error {
	err := errors.Join(required("plan name", p.Name), p.Limits.valid(), p.Ceiling.valid(), p.Instances.valid())
	if p.Quota < 0 {
		err = errors.Join(err, fmt.Errorf("%w: quota of %d requests: use a positive number, or zero for none", ErrInvalid, p.Quota))
	}
	return err
}

// Valid returns nil, or an ErrInvalid that names the field.
func (t Token) Valid() error {
	return errors.Join(required("token id", t.ID), required("token name", t.Name), checkText("token prefix", t.Prefix),
		checkText("token user", t.UserID), t.validRole())
}

// Clean returns u as it is stored: the time in UTC, times and durations cut to microseconds, and U+FFFD for bytes in its
// text that cannot be stored. What was observed is never refused, because a batch would be stuck for ever on one
// request's path.
func (u Usage) Clean() Usage {
	for _, s := range []*string{&u.ID, &u.APIID, &u.KeyID, &u.Method, &u.Path, &u.Route, &u.Node, &u.Error} {
		*s = CleanText(*s)
	}
	u.Time = u.Time.UTC().Truncate(time.Microsecond)
	u.Duration = u.Duration.Truncate(time.Microsecond)
	u.StartWait = u.StartWait.Truncate(time.Microsecond)
	u.CPU = u.CPU.Truncate(time.Microsecond)
	return u
}

// IsClean reports whether Clean returns u as it is. Texts that it has in common with before, which is clean, are not looked at again; the zero
// value is clean.
func (u *Usage) IsClean(before *Usage) bool {
	return u.Time.Location() == time.UTC && u.Time.Nanosecond()%1000 == 0 &&
		u.Duration%time.Microsecond == 0 && u.StartWait%time.Microsecond == 0 && u.CPU%time.Microsecond == 0 &&
		storable(u.ID) && (u.APIID == before.APIID || storable(u.APIID)) && (u.KeyID == before.KeyID || storable(u.KeyID)) &&
		(u.Method == before.Method || storable(u.Method)) && (u.Path == before.Path || storable(u.Path)) &&
		(u.Route == before.Route || storable(u.Route)) && (u.Node == before.Node || storable(u.Node)) &&
		(u.Error == before.Error || storable(u.Error))
}

// CleanText replaces bytes that cannot be stored, NUL and invalid UTF-8, by U+FFFD.
func CleanText(s string) string {
	if storable(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func required(field, s string) error {
	if s == "" {
		return fmt.Errorf("%w: %s is missing", ErrInvalid, field)
	}
	return checkText(field, s)
}

func checkText(field, s string) error {
	switch {
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s is not UTF-8: save it as UTF-8", ErrInvalid, field)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%w: %s contains a NUL byte: remove it", ErrInvalid, field)
	}
	return nil
}
