-- Of the kinds that real databases have: enums, uuids, numerics, JSON, arrays, time zones, and a column that says when a row last changed.
CREATE TYPE article_kind AS ENUM ('service', 'operation', 'shape', 'member');

CREATE TABLE articles (
    id         text PRIMARY KEY,
    team       text NOT NULL,
    kind       article_kind NOT NULL,
    title      text NOT NULL,
    body       text NOT NULL,
    words      integer NOT NULL GENERATED ALWAYS AS (cardinality(regexp_split_to_array(body, '\s+'))) STORED,
    published  boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE team_runs (
    id         bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    run        uuid NOT NULL DEFAULT gen_random_uuid(),
    team       text NOT NULL,
    kind       article_kind NOT NULL,
    articles   integer NOT NULL,
    hours      numeric(8, 2) NOT NULL CHECK (hours BETWEEN 0 AND 168),
    longest    text[] NOT NULL,
    facts      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER touch BEFORE UPDATE ON articles FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch BEFORE UPDATE ON team_runs FOR EACH ROW EXECUTE FUNCTION touch();
