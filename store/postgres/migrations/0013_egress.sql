-- What programs reached outside and were refused, by hour and by day, API, its owner then and destination. start is the beginning of
-- the hour or day in UTC; sums stop growing at 2^62. A source is one start of a server, and batch the last that it told: one that is
-- told again changes nothing.

CREATE TABLE apibuilder_egress_hours (
    start       BIGINT NOT NULL,
    api_id      TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    destination TEXT COLLATE "C" NOT NULL,
    connections BIGINT NOT NULL DEFAULT 0,
    sent        BIGINT NOT NULL DEFAULT 0,
    received    BIGINT NOT NULL DEFAULT 0,
    refused     BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, user_id, destination)
);

CREATE TABLE apibuilder_egress_days (
    start       BIGINT NOT NULL,
    api_id      TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    destination TEXT COLLATE "C" NOT NULL,
    connections BIGINT NOT NULL DEFAULT 0,
    sent        BIGINT NOT NULL DEFAULT 0,
    received    BIGINT NOT NULL DEFAULT 0,
    refused     BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (start, api_id, user_id, destination)
);

CREATE TABLE apibuilder_egress_sources (
    source TEXT PRIMARY KEY,
    batch  BIGINT NOT NULL,
    at     BIGINT NOT NULL
);

ALTER TABLE apibuilder_egress_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE apibuilder_egress_days ENABLE ROW LEVEL SECURITY;
ALTER TABLE apibuilder_egress_sources ENABLE ROW LEVEL SECURITY;
