-- What was asked of the management API that changes something, and what came of it. No reference to apis: it outlives them.

CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL,
    time     INTEGER NOT NULL,
    token_id TEXT NOT NULL,
    role     TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    method   TEXT NOT NULL,
    path     TEXT NOT NULL,
    api_id   TEXT NOT NULL,
    status   INTEGER NOT NULL,
    error    TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_api ON audit (api_id, time);
CREATE INDEX audit_by_time ON audit (time);
