-- The sums by hour of all APIs and keys together, for reports over a long time.

CREATE TABLE apibuilder_usage_totals (
    start         BIGINT PRIMARY KEY,
    requests      BIGINT NOT NULL DEFAULT 0,
    admitted      BIGINT NOT NULL DEFAULT 0,
    client_errors BIGINT NOT NULL DEFAULT 0,
    server_errors BIGINT NOT NULL DEFAULT 0,
    bytes_in      BIGINT NOT NULL DEFAULT 0,
    bytes_out     BIGINT NOT NULL DEFAULT 0,
    duration_us   BIGINT NOT NULL DEFAULT 0,
    start_wait_us BIGINT NOT NULL DEFAULT 0,
    cpu_us        BIGINT NOT NULL DEFAULT 0
);

INSERT INTO apibuilder_usage_totals
SELECT start, sum(requests), sum(admitted), sum(client_errors), sum(server_errors), least(sum(bytes_in), 4611686018427387904),
    least(sum(bytes_out), 4611686018427387904), least(sum(duration_us), 4611686018427387904),
    least(sum(start_wait_us), 4611686018427387904), least(sum(cpu_us), 4611686018427387904)
FROM apibuilder_usage_hours GROUP BY start;

ALTER TABLE apibuilder_usage_totals ENABLE ROW LEVEL SECURITY;
