-- The planner's statistics of a column are values of it, which ANALYZE copies to where no erasure comes: a wrapped key that
-- was destroyed stayed there for all who may read the table. No column of bytes has statistics any more, be they wrapped keys,
-- keyed hashes or ciphertext; nothing is ever planned by them. To have none does not remove those that are there. To set the
-- type does, also to the one that it has, and then rewrites nothing.

DROP VIEW {schema}.erased_subjects;  -- while the type of a column that it names is set

DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'r' AND a.atttypid = 'bytea'::regtype
           AND a.attnum > 0 AND NOT a.attisdropped
           AND c.relname <> 'migrations'  -- checksums of published files
    LOOP
        EXECUTE format('ALTER TABLE {schema}.%I ALTER COLUMN %I SET STATISTICS 0', found.relname, found.attname);
        EXECUTE format('ALTER TABLE {schema}.%I ALTER COLUMN %I TYPE bytea', found.relname, found.attname);
    END LOOP;
END $$;

CREATE VIEW {schema}.erased_subjects AS SELECT subject_id FROM {schema}.subject_keys WHERE wrapped IS NULL;
GRANT SELECT ON {schema}.erased_subjects
    TO rapport_projector, rapport_reader, rapport_service, rapport_privacy, rapport_backup;

-- Read models find people by keyed hashes, which are removed with the person, and from here on with their statistics. Those of
-- people who were erased before are made anew now.
SET LOCAL ROLE rapport_projector;
DO $$
DECLARE
    found regclass;
BEGIN
    FOR found IN SELECT attrelid::regclass FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                  WHERE c.relnamespace = '{read_schema}'::regnamespace AND c.relkind = 'r' AND attname = 'subject_id'
    LOOP
        EXECUTE format('ANALYZE %s', found);
    END LOOP;
END $$;
SET LOCAL ROLE rapport_owner;
