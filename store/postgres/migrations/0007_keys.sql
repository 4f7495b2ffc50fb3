-- Keys of users, that end, that are for some requests only, that are rotated; quotas. An older node cannot read a key of a
-- user, and so refuses it.

ALTER TABLE apibuilder_plans ADD COLUMN quota BIGINT NOT NULL DEFAULT 0;

ALTER TABLE apibuilder_keys ALTER COLUMN api_id DROP NOT NULL;
ALTER TABLE apibuilder_keys ADD COLUMN user_id TEXT COLLATE "C" REFERENCES apibuilder_users (id) ON DELETE CASCADE;
ALTER TABLE apibuilder_keys ADD COLUMN quota BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apibuilder_keys ADD COLUMN allow TEXT NOT NULL DEFAULT '[]'; -- a JSON list
ALTER TABLE apibuilder_keys ADD COLUMN expires_at BIGINT;
ALTER TABLE apibuilder_keys ADD COLUMN previous_prefix TEXT NOT NULL DEFAULT '';
ALTER TABLE apibuilder_keys ADD COLUMN previous_hash BYTEA UNIQUE;
ALTER TABLE apibuilder_keys ADD COLUMN previous_until BIGINT;
ALTER TABLE apibuilder_keys ADD CHECK ((api_id IS NULL) <> (user_id IS NULL));

CREATE INDEX apibuilder_keys_by_user ON apibuilder_keys (user_id, created_at);

-- Apart from keys, so that a use is no change of the key. No reference: usage of a key may come after it was deleted.
CREATE TABLE apibuilder_key_uses (
    key_id       TEXT COLLATE "C" PRIMARY KEY,
    last_used_at BIGINT NOT NULL
);

INSERT INTO apibuilder_key_uses (key_id, last_used_at)
SELECT key_id, max(time) FROM apibuilder_usage WHERE key_id IN (SELECT id FROM apibuilder_keys) GROUP BY key_id;

ALTER TABLE apibuilder_key_uses ENABLE ROW LEVEL SECURITY;

-- As it was, and a key of a user is a change of each of its APIs: only so is a revoked one forgotten for good.
CREATE OR REPLACE FUNCTION apibuilder_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    apis text[] := ARRAY[''];
    api  text;
    node text := coalesce(current_setting('apibuilder.node', true), '');
BEGIN
    IF TG_TABLE_NAME = 'apibuilder_apis' THEN
        apis := ARRAY[CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END];
    ELSIF TG_TABLE_NAME = 'apibuilder_versions' THEN
        apis := ARRAY[CASE TG_OP WHEN 'DELETE' THEN OLD.api_id ELSE NEW.api_id END];
    ELSIF TG_TABLE_NAME = 'apibuilder_keys' THEN
        IF TG_OP = 'DELETE' THEN
            NEW := OLD;
        END IF;
        IF NEW.api_id IS NOT NULL THEN
            apis := ARRAY[NEW.api_id];
        ELSE
            EXECUTE format('SELECT array_agg(id) FROM %I.apibuilder_apis WHERE user_id = $1', TG_TABLE_SCHEMA)
                INTO apis USING NEW.user_id;
        END IF;
    END IF;
    FOREACH api IN ARRAY coalesce(apis, ARRAY[]::text[]) LOOP
        EXECUTE format('INSERT INTO %I.apibuilder_changes (api_id, node) VALUES ($1, $2)', TG_TABLE_SCHEMA) USING api, node;
        PERFORM pg_notify('apibuilder', left(TG_TABLE_SCHEMA || ' ' || node || ' ' || api, 2000));
    END LOOP;
    RETURN NULL;
END $$;
