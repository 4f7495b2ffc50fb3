-- Programs of several files: a zip archive under the hash of its content, once for each API that has it.

CREATE TABLE apibuilder_bundles (
    api_id  TEXT COLLATE "C" NOT NULL REFERENCES apibuilder_apis (id) ON DELETE CASCADE,
    hash    TEXT COLLATE "C" NOT NULL,
    archive BYTEA NOT NULL,
    PRIMARY KEY (api_id, hash)
);

ALTER TABLE apibuilder_bundles ALTER COLUMN archive SET STORAGE EXTERNAL; -- it is compressed already
ALTER TABLE apibuilder_bundles ENABLE ROW LEVEL SECURITY;

-- Of a version of one text they are empty.
ALTER TABLE apibuilder_versions ADD COLUMN bundle TEXT NOT NULL DEFAULT '';
ALTER TABLE apibuilder_versions ADD COLUMN entry TEXT NOT NULL DEFAULT '';
ALTER TABLE apibuilder_versions ADD COLUMN files BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apibuilder_versions ADD COLUMN file_bytes BIGINT NOT NULL DEFAULT 0;
