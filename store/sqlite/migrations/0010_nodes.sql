-- The servers that use this file: one. Other drivers have more.

CREATE TABLE nodes (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    version    TEXT NOT NULL,
    address    TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT;

-- Which of them deploys a version.
ALTER TABLE versions ADD COLUMN node TEXT NOT NULL DEFAULT '';

CREATE INDEX versions_building ON versions (api_id, number) WHERE state = 'building';
