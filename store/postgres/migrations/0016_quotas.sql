-- Monthly quotas that nodes draw on, see docs/decisions/0045. A row that is missing is a quota of which nothing was given.
CREATE TABLE apibuilder_quotas (
    policy  TEXT COLLATE "C" NOT NULL, -- plan, api or key
    key     TEXT COLLATE "C" NOT NULL, -- id of the user, API or key
    month   BIGINT NOT NULL, -- its beginning, microseconds since 1970
    given   BIGINT NOT NULL, -- permits, to all nodes
    granted BIGINT NOT NULL, -- to the last one that asked
    PRIMARY KEY (policy, key, month)
);

ALTER TABLE apibuilder_quotas ENABLE ROW LEVEL SECURITY;

-- No two APIs have the same host name, and none is looked for among those that have none.
CREATE UNIQUE INDEX apibuilder_apis_by_host ON apibuilder_apis ((options::jsonb->>'host')) WHERE options::jsonb ? 'host';
