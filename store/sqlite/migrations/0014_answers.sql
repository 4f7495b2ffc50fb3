-- Answers to requests with an idempotency key, for a day. They are no part of a backup.

CREATE TABLE answers (
    id           BLOB PRIMARY KEY NOT NULL,
    owner        TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    worked_until INTEGER NOT NULL,
    text         BLOB NOT NULL DEFAULT x''
) STRICT;

CREATE INDEX answers_by_expiry ON answers (expires_at);
CREATE INDEX answers_by_owner ON answers (owner, created_at);
