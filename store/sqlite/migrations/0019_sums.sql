-- What one key, user or API had since a time: quotas ask for a month again and again, which was a reading of everybody's.
CREATE INDEX usage_hours_by_key ON usage_hours (key_id, start);
CREATE INDEX usage_hours_by_user ON usage_hours (user_id, start);
CREATE INDEX usage_hours_by_api ON usage_hours (api_id, start);
CREATE INDEX usage_days_by_key ON usage_days (key_id, start);
CREATE INDEX usage_days_by_user ON usage_days (user_id, start);
CREATE INDEX usage_days_by_api ON usage_days (api_id, start);
