-- The servers that share this database. What they say of themselves changes every few seconds, so no trigger tells of it. Times
-- are by this server's clock.

CREATE TABLE apibuilder_nodes (
    id         TEXT COLLATE "C" PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    version    TEXT NOT NULL,
    address    TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    seen_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Which of them deploys a version.
ALTER TABLE apibuilder_versions ADD COLUMN node TEXT NOT NULL DEFAULT '';

CREATE INDEX apibuilder_versions_building ON apibuilder_versions (api_id, number) WHERE state = 'building';

-- Rate limits that nodes draw on, see docs/decisions/0036. A row that is missing is a limit that nobody has used: full_at is in
-- the past. The other columns are what the last node asked with.
CREATE TABLE apibuilder_permits (
    name       TEXT COLLATE "C" PRIMARY KEY,
    full_at_ns BIGINT NOT NULL, -- when everything will have come back, nanoseconds since 1970
    at_ns      BIGINT NOT NULL, -- when it was asked
    granted    BIGINT NOT NULL, -- how many permits were given then
    step_ns    BIGINT NOT NULL, -- in which one comes back
    burst      BIGINT NOT NULL,
    valid_ns   BIGINT NOT NULL -- how long the node may use them
);

CREATE INDEX apibuilder_permits_by_full_at ON apibuilder_permits (full_at_ns);

ALTER TABLE apibuilder_nodes ENABLE ROW LEVEL SECURITY;
ALTER TABLE apibuilder_permits ENABLE ROW LEVEL SECURITY;
