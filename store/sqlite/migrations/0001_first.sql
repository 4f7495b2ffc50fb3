-- Times are microseconds since 1970 in UTC, a missing time is NULL. Durations carry their unit in their name. The tables
-- with a seq column are listed in the order of insertion where times are equal.

CREATE TABLE plans (
    name          TEXT PRIMARY KEY NOT NULL,
    rate_requests INTEGER NOT NULL DEFAULT 0,
    rate_per_ns   INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE users (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL UNIQUE,
    plan       TEXT NOT NULL REFERENCES plans (name),
    created_at INTEGER NOT NULL
) STRICT;

INSERT INTO plans (name) VALUES ('default');
INSERT INTO users (id, name, plan, created_at)
VALUES ('operator', 'operator', 'default', CAST(strftime('%s', 'now') AS INTEGER) * 1000000);

CREATE TABLE apis (
    id             TEXT PRIMARY KEY NOT NULL,
    name           TEXT NOT NULL UNIQUE,
    user_id        TEXT NOT NULL REFERENCES users (id),
    public         INTEGER NOT NULL,
    public_docs    INTEGER NOT NULL,
    code_snapshot  TEXT NOT NULL,
    requirements   TEXT NOT NULL,
    active_version INTEGER NOT NULL DEFAULT 0,
    rate_requests  INTEGER NOT NULL,
    rate_per_ns    INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX apis_by_user ON apis (user_id);

CREATE TABLE versions (
    api_id       TEXT NOT NULL REFERENCES apis (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    code         TEXT NOT NULL,
    requirements TEXT NOT NULL,
    python       TEXT NOT NULL,
    env          TEXT NOT NULL, -- a JSON object
    memory_bytes INTEGER NOT NULL,
    cpu          REAL NOT NULL,
    pids         INTEGER NOT NULL,
    state        TEXT NOT NULL,
    environment  TEXT NOT NULL,
    failure      TEXT NOT NULL,
    detail       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (api_id, number)
) STRICT;

CREATE TABLE keys (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    api_id        TEXT NOT NULL REFERENCES apis (id) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    prefix        TEXT NOT NULL,
    hash          BLOB NOT NULL UNIQUE,
    rate_requests INTEGER NOT NULL,
    rate_per_ns   INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    revoked_at    INTEGER
) STRICT;

CREATE INDEX keys_by_api ON keys (api_id, created_at);

CREATE TABLE tokens (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    prefix     TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

CREATE TABLE exits (
    seq     INTEGER PRIMARY KEY,
    api_id  TEXT NOT NULL REFERENCES apis (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    detail  TEXT NOT NULL,
    output  TEXT NOT NULL,
    time    INTEGER NOT NULL
) STRICT;

CREATE INDEX exits_by_api ON exits (api_id, time);

-- No reference to apis: usage outlives what was used.
CREATE TABLE usage (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    api_id        TEXT NOT NULL,
    version       INTEGER NOT NULL,
    key_id        TEXT NOT NULL,
    time          INTEGER NOT NULL,
    method        TEXT NOT NULL,
    path          TEXT NOT NULL,
    status        INTEGER NOT NULL,
    error         TEXT NOT NULL,
    bytes_in      INTEGER NOT NULL,
    bytes_out     INTEGER NOT NULL,
    duration_us   INTEGER NOT NULL,
    start_wait_us INTEGER NOT NULL
) STRICT;

CREATE INDEX usage_by_api ON usage (api_id, time);
CREATE INDEX usage_by_time ON usage (time);
