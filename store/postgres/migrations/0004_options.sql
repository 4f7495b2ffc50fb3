-- Settings of an API that its owner may change at any time: a JSON object, see store.Options.

ALTER TABLE apibuilder_apis ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
