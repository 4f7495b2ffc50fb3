-- Keys of users, that end, that are for some requests only, that are rotated; quotas. The table is made anew, because a
-- column of SQLite cannot be told that it may be NULL from now on. Nothing refers to it.

ALTER TABLE plans ADD COLUMN quota INTEGER NOT NULL DEFAULT 0;

CREATE TABLE new_keys (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    api_id          TEXT REFERENCES apis (id) ON DELETE CASCADE,
    user_id         TEXT REFERENCES users (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    prefix          TEXT NOT NULL,
    hash            BLOB NOT NULL UNIQUE,
    rate_requests   INTEGER NOT NULL,
    rate_per_ns     INTEGER NOT NULL,
    quota           INTEGER NOT NULL DEFAULT 0,
    allow           TEXT NOT NULL DEFAULT '[]', -- a JSON list
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    revoked_at      INTEGER,
    previous_prefix TEXT NOT NULL DEFAULT '',
    previous_hash   BLOB UNIQUE,
    previous_until  INTEGER,
    CHECK ((api_id IS NULL) <> (user_id IS NULL))
) STRICT;

INSERT INTO new_keys (seq, id, api_id, name, prefix, hash, rate_requests, rate_per_ns, created_at, revoked_at)
SELECT seq, id, api_id, name, prefix, hash, rate_requests, rate_per_ns, created_at, revoked_at FROM keys;

DROP TABLE keys;
ALTER TABLE new_keys RENAME TO keys;

CREATE INDEX keys_by_api ON keys (api_id, created_at);
CREATE INDEX keys_by_user ON keys (user_id, created_at);

-- Apart from keys, so that a use is no change of the key. No reference: usage of a key may come after it was deleted.
CREATE TABLE key_uses (
    key_id       TEXT PRIMARY KEY NOT NULL,
    last_used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO key_uses (key_id, last_used_at)
SELECT key_id, max(time) FROM usage WHERE key_id IN (SELECT id FROM keys) GROUP BY key_id;
