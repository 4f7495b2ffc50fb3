-- No two APIs have the same host name, and none is looked for among those that have none.
CREATE UNIQUE INDEX apis_by_host ON apis (json_extract(options, '$.host')) WHERE json_extract(options, '$.host') <> '';
