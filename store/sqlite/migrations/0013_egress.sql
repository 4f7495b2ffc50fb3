-- What programs reached outside and were refused, by hour and by day, API, its owner then and destination. start is the beginning of
-- the hour or day in UTC; sums stop growing at 2^62. A source is one start of a server, and batch the last that it told: one that is
-- told again changes nothing.

CREATE TABLE egress_hours (
    start       INTEGER NOT NULL,
    api_id      TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    destination TEXT NOT NULL,
    connections INTEGER NOT NULL DEFAULT 0,
    sent        INTEGER NOT NULL DEFAULT 0,
    received    INTEGER NOT NULL DEFAULT 0,
    refused     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, user_id, destination)
) STRICT, WITHOUT ROWID;

CREATE TABLE egress_days (
    start       INTEGER NOT NULL,
    api_id      TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    destination TEXT NOT NULL,
    connections INTEGER NOT NULL DEFAULT 0,
    sent        INTEGER NOT NULL DEFAULT 0,
    received    INTEGER NOT NULL DEFAULT 0,
    refused     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, user_id, destination)
) STRICT, WITHOUT ROWID;

CREATE TABLE egress_sources (
    source TEXT PRIMARY KEY,
    batch  INTEGER NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
