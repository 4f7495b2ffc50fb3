-- The table of migrations is made before the first of them, and has been without row security until now.
ALTER TABLE apibuilder_schema_migrations ENABLE ROW LEVEL SECURITY;

-- As it was, and it writes where it is itself, never where the table is: whoever owns a schema could have a table of his own there, with this
-- trigger, and have what he put into its apibuilder_changes run as the owner of this function.
CREATE OR REPLACE FUNCTION apibuilder_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    apis text[] := ARRAY[''];
    api  text;
    node text := coalesce(current_setting('apibuilder.node', true), '');
    ours text := (SELECT s.nspname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace s ON s.oid = p.pronamespace
        WHERE t.tgrelid = TG_RELID AND t.tgname = TG_NAME);
BEGIN
    IF TG_TABLE_SCHEMA <> ours THEN
        RAISE 'this trigger is for tables of the schema %', ours;
    END IF;
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
            EXECUTE format('SELECT array_agg(id) FROM %I.apibuilder_apis WHERE user_id = $1', ours) INTO apis USING NEW.user_id;
        END IF;
    END IF;
    FOREACH api IN ARRAY coalesce(apis, ARRAY[]::text[]) LOOP
        EXECUTE format('INSERT INTO %I.apibuilder_changes (api_id, node) VALUES ($1, $2)', ours) USING api, node;
        PERFORM pg_notify('apibuilder', left(ours || ' ' || node || ' ' || api, 2000));
    END LOOP;
    RETURN NULL;
END $$;

-- Nobody else makes a trigger with it; those that there are fire without this right. A hosted database may have given it to roles by name.
DO $$
DECLARE
    whose text;
BEGIN
    FOR whose IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE p.oid = 'apibuilder_changed()'::regprocedure AND a.grantee <> p.proowner
    LOOP
        EXECUTE 'REVOKE ALL ON FUNCTION apibuilder_changed() FROM ' || whose;
    END LOOP;
END $$;

-- What one key, user or API had since a time: quotas ask for a month again and again, which was a reading of everybody's.
CREATE INDEX apibuilder_usage_hours_by_key ON apibuilder_usage_hours (key_id, start);
CREATE INDEX apibuilder_usage_hours_by_user ON apibuilder_usage_hours (user_id, start);
CREATE INDEX apibuilder_usage_hours_by_api ON apibuilder_usage_hours (api_id, start);
CREATE INDEX apibuilder_usage_days_by_key ON apibuilder_usage_days (key_id, start);
CREATE INDEX apibuilder_usage_days_by_user ON apibuilder_usage_days (user_id, start);
CREATE INDEX apibuilder_usage_days_by_api ON apibuilder_usage_days (api_id, start);
