-- Usage records by the hundred in one value, see usageblock.go: a row for each of them cost more than all else that the server does
-- about it, and five times the room. The table usage keeps those that are there, and those of a backup, until their time is over.
CREATE TABLE usage_blocks (
    seq     INTEGER PRIMARY KEY,
    first   INTEGER NOT NULL, -- the time of the oldest record in it, and of the newest
    last    INTEGER NOT NULL,
    records INTEGER NOT NULL,
    data    BLOB NOT NULL
) STRICT;

CREATE INDEX usage_blocks_by_last ON usage_blocks (last, first);
CREATE INDEX usage_blocks_by_first ON usage_blocks (first);

-- The ids of APIs and keys that a block has records of.
CREATE TABLE usage_block_names (
    name  TEXT NOT NULL,
    last  INTEGER NOT NULL, -- that of the block, so that they are in its order
    block INTEGER NOT NULL,
    PRIMARY KEY (name, last, block)
) STRICT, WITHOUT ROWID;
