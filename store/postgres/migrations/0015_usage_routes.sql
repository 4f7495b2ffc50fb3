-- Sums of usage by day and route template, of the same records as the other sums. Until now routes were not recorded, so that what
-- was before is under the empty one.

CREATE TABLE apibuilder_usage_routes (
    start         BIGINT NOT NULL,
    api_id        TEXT COLLATE "C" NOT NULL,
    user_id       TEXT COLLATE "C" NOT NULL,
    route         TEXT COLLATE "C" NOT NULL,
    requests      BIGINT NOT NULL DEFAULT 0,
    admitted      BIGINT NOT NULL DEFAULT 0,
    client_errors BIGINT NOT NULL DEFAULT 0,
    server_errors BIGINT NOT NULL DEFAULT 0,
    bytes_in      BIGINT NOT NULL DEFAULT 0,
    bytes_out     BIGINT NOT NULL DEFAULT 0,
    duration_us   BIGINT NOT NULL DEFAULT 0,
    start_wait_us BIGINT NOT NULL DEFAULT 0,
    cpu_us        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, user_id, route)
);

INSERT INTO apibuilder_usage_routes (start, api_id, user_id, route, requests, admitted, client_errors, server_errors, bytes_in, bytes_out,
    duration_us, start_wait_us, cpu_us)
SELECT start, api_id, user_id, '', sum(requests), sum(admitted), sum(client_errors), sum(server_errors), least(sum(bytes_in), 4611686018427387904),
    least(sum(bytes_out), 4611686018427387904), least(sum(duration_us), 4611686018427387904),
    least(sum(start_wait_us), 4611686018427387904), least(sum(cpu_us), 4611686018427387904)
FROM apibuilder_usage_days GROUP BY start, api_id, user_id;

ALTER TABLE apibuilder_usage_routes ENABLE ROW LEVEL SECURITY;
