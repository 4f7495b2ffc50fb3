-- Which keys a node can open secrets with, by names that tell nothing about them; the one that it seals with first.
ALTER TABLE apibuilder_nodes ADD COLUMN keys TEXT NOT NULL DEFAULT '';
