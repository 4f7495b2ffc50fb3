-- What the APIs of a plan's users get when they ask for nothing, and the most that they may ask for. Zero is the server's.

ALTER TABLE plans ADD COLUMN memory_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE plans ADD COLUMN cpu REAL NOT NULL DEFAULT 0;
ALTER TABLE plans ADD COLUMN pids INTEGER NOT NULL DEFAULT 0;
ALTER TABLE plans ADD COLUMN max_memory_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE plans ADD COLUMN max_cpu REAL NOT NULL DEFAULT 0;
ALTER TABLE plans ADD COLUMN max_pids INTEGER NOT NULL DEFAULT 0;
