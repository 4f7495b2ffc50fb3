-- Programs of several files: a zip archive under the hash of its content, once for each API that has it.

CREATE TABLE bundles (
    api_id  TEXT NOT NULL REFERENCES apis (id) ON DELETE CASCADE,
    hash    TEXT NOT NULL,
    archive BLOB NOT NULL,
    PRIMARY KEY (api_id, hash)
) STRICT;

-- Of a version of one text they are empty.
ALTER TABLE versions ADD COLUMN bundle TEXT NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN entry TEXT NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN files INTEGER NOT NULL DEFAULT 0;
ALTER TABLE versions ADD COLUMN file_bytes INTEGER NOT NULL DEFAULT 0;
