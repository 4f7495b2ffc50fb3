-- The most instances that options of an API may ask for. Zero is no bound.

ALTER TABLE apibuilder_plans ADD COLUMN max_instances BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apibuilder_plans ADD COLUMN max_min_instances BIGINT NOT NULL DEFAULT 0;
