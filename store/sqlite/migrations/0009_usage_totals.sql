-- The sums by hour of all APIs and keys together, for reports over a long time.

CREATE TABLE usage_totals (
    start         INTEGER PRIMARY KEY NOT NULL,
    requests      INTEGER NOT NULL DEFAULT 0,
    admitted      INTEGER NOT NULL DEFAULT 0,
    client_errors INTEGER NOT NULL DEFAULT 0,
    server_errors INTEGER NOT NULL DEFAULT 0,
    bytes_in      INTEGER NOT NULL DEFAULT 0,
    bytes_out     INTEGER NOT NULL DEFAULT 0,
    duration_us   INTEGER NOT NULL DEFAULT 0,
    start_wait_us INTEGER NOT NULL DEFAULT 0,
    cpu_us        INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO usage_totals
SELECT start, sum(requests), sum(admitted), sum(client_errors), sum(server_errors), min(total(bytes_in), 4611686018427387904),
    min(total(bytes_out), 4611686018427387904), min(total(duration_us), 4611686018427387904),
    min(total(start_wait_us), 4611686018427387904), min(total(cpu_us), 4611686018427387904)
FROM usage_hours GROUP BY start;
