-- Answers to requests with an idempotency key, for a day. They are no part of a backup, and no trigger tells of them.

CREATE TABLE apibuilder_answers (
    id           BYTEA PRIMARY KEY,
    owner        TEXT COLLATE "C" NOT NULL,
    fingerprint  BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    worked_until BIGINT NOT NULL,
    text         BYTEA NOT NULL DEFAULT ''
);

CREATE INDEX apibuilder_answers_by_expiry ON apibuilder_answers (expires_at);
CREATE INDEX apibuilder_answers_by_owner ON apibuilder_answers (owner, created_at);
ALTER TABLE apibuilder_answers ENABLE ROW LEVEL SECURITY;
