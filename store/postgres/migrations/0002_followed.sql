-- What was taken over of the rows of another program's table `apis`, see docs/decisions/0021. Their table gets a column
-- `requirements` and a trigger at each start of a node, when they are missing, not here: it may come later than ours.

CREATE TABLE apibuilder_followed (
    id      TEXT COLLATE "C" PRIMARY KEY, -- theirs as text, and our API's
    stamp   TEXT NOT NULL,                -- of the content that was taken over or refused last
    problem TEXT NOT NULL,                -- empty: it serves
    time    TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Whoever holds a lease does what only one node may do. The database's clock counts.
CREATE TABLE apibuilder_leases (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  TIMESTAMPTZ NOT NULL
);

ALTER TABLE apibuilder_followed ENABLE ROW LEVEL SECURITY;
ALTER TABLE apibuilder_leases ENABLE ROW LEVEL SECURITY;

-- Says that rows changed, not which: a node looks itself. Nothing in it can fail for the program that writes.
CREATE FUNCTION apibuilder_rows_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('apibuilder_rows', '');
    RETURN NULL;
END $$;
