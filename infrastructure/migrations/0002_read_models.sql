-- What the projector keeps about the read models: how far each has come, and which one answers. Their own tables are
-- made by the projector itself, in the same schema, named <model>_v<version>_<table>.

CREATE INDEX subject_keys_erased ON {schema}.subject_keys (subject_id) WHERE wrapped IS NULL;

-- Queries hide a person whose key is gone at once, also while a read model still has rows that lead to that person.
CREATE VIEW {schema}.erased_subjects AS SELECT subject_id FROM {schema}.subject_keys WHERE wrapped IS NULL;
GRANT SELECT ON {schema}.erased_subjects TO rapport_projector, rapport_reader, rapport_service, rapport_privacy;

SET LOCAL ROLE rapport_projector;

-- One row that is only ever locked: whoever holds it moves the live models.
CREATE TABLE {read_schema}.live_group (one boolean PRIMARY KEY DEFAULT true CHECK (one));
INSERT INTO {read_schema}.live_group DEFAULT VALUES;

CREATE TABLE {read_schema}.builds (
    model          text COLLATE "C" NOT NULL,
    version        integer NOT NULL CHECK (version > 0),   -- of the definition
    build          integer NOT NULL CHECK (build > 0),     -- a rebuild of the same definition gets tables of its own
    state          text NOT NULL CHECK (state IN ('live', 'catching_up', 'stopped')),
    serving        boolean NOT NULL,                       -- answers for its version
    position       bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    error          text,                                   -- class of the error only: a message may hold personal data
    error_position bigint,
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    moved_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, version, build),
    CHECK ((state = 'stopped') <= (error IS NOT NULL))
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX builds_serving ON {read_schema}.builds (model, version) WHERE serving;

CREATE TABLE {read_schema}.current_versions (
    model   text COLLATE "C" PRIMARY KEY,
    version integer NOT NULL CHECK (version > 0)
);

GRANT USAGE ON SCHEMA {read_schema} TO rapport_service, rapport_operator;
GRANT SELECT ON {read_schema}.builds, {read_schema}.current_versions TO rapport_service, rapport_operator;

SET LOCAL ROLE rapport_owner;
