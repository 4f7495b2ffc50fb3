-- What a token may do, for whose APIs, and until when. Those that were there before may do everything.

ALTER TABLE tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'operator';
ALTER TABLE tokens ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;
