-- The table of migrations is made before the first of them, and has been without row security until now.
ALTER TABLE apibuilder_schema_migrations ENABLE ROW LEVEL SECURITY;
