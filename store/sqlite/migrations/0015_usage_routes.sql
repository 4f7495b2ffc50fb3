-- Sums of usage by day and route template, of the same records as the other sums. Until now routes were not recorded, so that what
-- was before is under the empty one.

CREATE TABLE usage_routes (
    start         INTEGER NOT NULL,
    api_id        TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    route         TEXT NOT NULL,
    requests      INTEGER NOT NULL DEFAULT 0,
    admitted      INTEGER NOT NULL DEFAULT 0,
    client_errors INTEGER NOT NULL DEFAULT 0,
    server_errors INTEGER NOT NULL DEFAULT 0,
    bytes_in      INTEGER NOT NULL DEFAULT 0,
    bytes_out     INTEGER NOT NULL DEFAULT 0,
    duration_us   INTEGER NOT NULL DEFAULT 0,
    start_wait_us INTEGER NOT NULL DEFAULT 0,
    cpu_us        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, user_id, route)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_routes (start, api_id, user_id, route, requests, admitted, client_errors, server_errors, bytes_in, bytes_out,
    duration_us, start_wait_us, cpu_us)
SELECT start, api_id, user_id, '', sum(requests), sum(admitted), sum(client_errors), sum(server_errors), min(total(bytes_in), 4611686018427387904),
    min(total(bytes_out), 4611686018427387904), min(total(duration_us), 4611686018427387904),
    min(total(start_wait_us), 4611686018427387904), min(total(cpu_us), 4611686018427387904)
FROM usage_days GROUP BY start, api_id, user_id;
