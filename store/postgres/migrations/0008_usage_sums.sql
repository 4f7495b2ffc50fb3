-- Sums of usage by hour and by day, kept by whoever stores a record, in the same transaction. start is the beginning of the hour
-- or day in UTC, user_id who owned the API when the record was stored. Sums stop growing at 2^62.

ALTER TABLE apibuilder_usage ADD COLUMN route TEXT NOT NULL DEFAULT '';
ALTER TABLE apibuilder_usage ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE apibuilder_usage ADD COLUMN cpu_us BIGINT NOT NULL DEFAULT 0;

CREATE TABLE apibuilder_usage_hours (
    start         BIGINT NOT NULL,
    api_id        TEXT COLLATE "C" NOT NULL,
    key_id        TEXT COLLATE "C" NOT NULL,
    user_id       TEXT COLLATE "C" NOT NULL,
    requests      BIGINT NOT NULL DEFAULT 0,
    admitted      BIGINT NOT NULL DEFAULT 0,
    client_errors BIGINT NOT NULL DEFAULT 0,
    server_errors BIGINT NOT NULL DEFAULT 0,
    bytes_in      BIGINT NOT NULL DEFAULT 0,
    bytes_out     BIGINT NOT NULL DEFAULT 0,
    duration_us   BIGINT NOT NULL DEFAULT 0,
    start_wait_us BIGINT NOT NULL DEFAULT 0,
    cpu_us        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, key_id, user_id)
);

CREATE TABLE apibuilder_usage_days (
    start         BIGINT NOT NULL,
    api_id        TEXT COLLATE "C" NOT NULL,
    key_id        TEXT COLLATE "C" NOT NULL,
    user_id       TEXT COLLATE "C" NOT NULL,
    requests      BIGINT NOT NULL DEFAULT 0,
    admitted      BIGINT NOT NULL DEFAULT 0,
    client_errors BIGINT NOT NULL DEFAULT 0,
    server_errors BIGINT NOT NULL DEFAULT 0,
    bytes_in      BIGINT NOT NULL DEFAULT 0,
    bytes_out     BIGINT NOT NULL DEFAULT 0,
    duration_us   BIGINT NOT NULL DEFAULT 0,
    start_wait_us BIGINT NOT NULL DEFAULT 0,
    cpu_us        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, key_id, user_id)
);

INSERT INTO apibuilder_usage_hours (start, api_id, key_id, user_id, requests, admitted, client_errors, server_errors, bytes_in, bytes_out,
    duration_us, start_wait_us)
SELECT u.time - u.time % 3600000000, u.api_id, u.key_id, coalesce(a.user_id, ''), count(*), count(*) FILTER (WHERE NOT (u.status = 429 AND u.error <> '')),
    count(*) FILTER (WHERE u.status BETWEEN 400 AND 499), count(*) FILTER (WHERE u.status >= 500),
    least(sum(least(greatest(u.bytes_in, 0), 281474976710656)), 4611686018427387904)::bigint, least(sum(least(greatest(u.bytes_out, 0), 281474976710656)), 4611686018427387904)::bigint,
    least(sum(least(greatest(u.duration_us, 0), 281474976710656)), 4611686018427387904)::bigint, least(sum(least(greatest(u.start_wait_us, 0), 281474976710656)), 4611686018427387904)::bigint
FROM apibuilder_usage u LEFT JOIN apibuilder_apis a ON a.id = u.api_id
GROUP BY 1, 2, 3, 4;

INSERT INTO apibuilder_usage_days (start, api_id, key_id, user_id, requests, admitted, client_errors, server_errors, bytes_in, bytes_out,
    duration_us, start_wait_us)
SELECT u.time - u.time % 86400000000, u.api_id, u.key_id, coalesce(a.user_id, ''), count(*), count(*) FILTER (WHERE NOT (u.status = 429 AND u.error <> '')),
    count(*) FILTER (WHERE u.status BETWEEN 400 AND 499), count(*) FILTER (WHERE u.status >= 500),
    least(sum(least(greatest(u.bytes_in, 0), 281474976710656)), 4611686018427387904)::bigint, least(sum(least(greatest(u.bytes_out, 0), 281474976710656)), 4611686018427387904)::bigint,
    least(sum(least(greatest(u.duration_us, 0), 281474976710656)), 4611686018427387904)::bigint, least(sum(least(greatest(u.start_wait_us, 0), 281474976710656)), 4611686018427387904)::bigint
FROM apibuilder_usage u LEFT JOIN apibuilder_apis a ON a.id = u.api_id
GROUP BY 1, 2, 3, 4;

ALTER TABLE apibuilder_usage_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE apibuilder_usage_days ENABLE ROW LEVEL SECURITY;
