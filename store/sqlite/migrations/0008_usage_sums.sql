-- Sums of usage by hour and by day, kept by whoever stores a record, in the same transaction. start is the beginning of the hour
-- or day in UTC, user_id who owned the API when the record was stored. Sums stop growing at 2^62.

ALTER TABLE usage ADD COLUMN route TEXT NOT NULL DEFAULT '';
ALTER TABLE usage ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE usage ADD COLUMN cpu_us INTEGER NOT NULL DEFAULT 0;

CREATE TABLE usage_hours (
    start         INTEGER NOT NULL,
    api_id        TEXT NOT NULL,
    key_id        TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    requests      INTEGER NOT NULL DEFAULT 0,
    admitted      INTEGER NOT NULL DEFAULT 0,
    client_errors INTEGER NOT NULL DEFAULT 0,
    server_errors INTEGER NOT NULL DEFAULT 0,
    bytes_in      INTEGER NOT NULL DEFAULT 0,
    bytes_out     INTEGER NOT NULL DEFAULT 0,
    duration_us   INTEGER NOT NULL DEFAULT 0,
    start_wait_us INTEGER NOT NULL DEFAULT 0,
    cpu_us        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, key_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_days (
    start         INTEGER NOT NULL,
    api_id        TEXT NOT NULL,
    key_id        TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    requests      INTEGER NOT NULL DEFAULT 0,
    admitted      INTEGER NOT NULL DEFAULT 0,
    client_errors INTEGER NOT NULL DEFAULT 0,
    server_errors INTEGER NOT NULL DEFAULT 0,
    bytes_in      INTEGER NOT NULL DEFAULT 0,
    bytes_out     INTEGER NOT NULL DEFAULT 0,
    duration_us   INTEGER NOT NULL DEFAULT 0,
    start_wait_us INTEGER NOT NULL DEFAULT 0,
    cpu_us        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, key_id, user_id)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_hours (start, api_id, key_id, user_id, requests, admitted, client_errors, server_errors, bytes_in, bytes_out,
    duration_us, start_wait_us)
SELECT u.time - u.time % 3600000000, u.api_id, u.key_id, coalesce(a.user_id, ''), count(*), count(*) FILTER (WHERE NOT (u.status = 429 AND u.error <> '')),
    count(*) FILTER (WHERE u.status BETWEEN 400 AND 499), count(*) FILTER (WHERE u.status >= 500),
    min(sum(min(max(u.bytes_in, 0), 281474976710656)), 4611686018427387904), min(sum(min(max(u.bytes_out, 0), 281474976710656)), 4611686018427387904),
    min(sum(min(max(u.duration_us, 0), 281474976710656)), 4611686018427387904), min(sum(min(max(u.start_wait_us, 0), 281474976710656)), 4611686018427387904)
FROM usage u LEFT JOIN apis a ON a.id = u.api_id
GROUP BY 1, 2, 3, 4;

INSERT INTO usage_days (start, api_id, key_id, user_id, requests, admitted, client_errors, server_errors, bytes_in, bytes_out,
    duration_us, start_wait_us)
SELECT u.time - u.time % 86400000000, u.api_id, u.key_id, coalesce(a.user_id, ''), count(*), count(*) FILTER (WHERE NOT (u.status = 429 AND u.error <> '')),
    count(*) FILTER (WHERE u.status BETWEEN 400 AND 499), count(*) FILTER (WHERE u.status >= 500),
    min(sum(min(max(u.bytes_in, 0), 281474976710656)), 4611686018427387904), min(sum(min(max(u.bytes_out, 0), 281474976710656)), 4611686018427387904),
    min(sum(min(max(u.duration_us, 0), 281474976710656)), 4611686018427387904), min(sum(min(max(u.start_wait_us, 0), 281474976710656)), 4611686018427387904)
FROM usage u LEFT JOIN apis a ON a.id = u.api_id
GROUP BY 1, 2, 3, 4;
