-- The packages that a version was built from, each at one version with its hashes; empty until built.

ALTER TABLE apibuilder_versions ADD COLUMN lock TEXT NOT NULL DEFAULT '';
