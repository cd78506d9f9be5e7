-- Backups are taken by a role of their own, which reads every table of the log and may do nothing else. And a
-- key-encryption key can be exchanged while commands come in: what is wrapped by a retired one is refused.

GRANT USAGE ON SCHEMA {schema} TO rapport_backup;
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO rapport_backup;

-- The key-encryption keys that are no longer in force, by their fingerprints.
CREATE TABLE {schema}.retired_key_encryption_keys (
    fingerprint bytea PRIMARY KEY,
    retired_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON {schema}.retired_key_encryption_keys TO rapport_service, rapport_privacy, rapport_operator, rapport_backup;

-- A writer may have wrapped a key before the rotation and append it afterwards, however much later. The first eight bytes
-- of a wrapped key are the fingerprint of the key that wrapped it.
CREATE FUNCTION {schema}.refuse_retired() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added
                JOIN {schema}.retired_key_encryption_keys r ON r.fingerprint = substr(added.wrapped, 1, 8)) THEN
        RAISE EXCEPTION 'the key-encryption key is retired: wrap the key anew'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'wrapped_by_key_in_force';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER wrapped_by_key_in_force AFTER INSERT ON {schema}.subject_keys REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_retired();
CREATE TRIGGER wrapped_by_key_in_force AFTER INSERT ON {schema}.text_keys REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_retired();

-- From here on nothing that these key-encryption keys have wrapped gets into the log; what is there already stays.
CREATE FUNCTION {schema}.retire_key_encryption_keys(p_fingerprint bytea[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
    PERFORM 1 FROM log_head FOR UPDATE;
    INSERT INTO retired_key_encryption_keys (fingerprint) SELECT DISTINCT unnest(p_fingerprint) ON CONFLICT DO NOTHING;
END $$;

-- The key of the tenant's hashes under a new key-encryption key; the key itself stays, so every hash does.
CREATE FUNCTION {schema}.rewrap_hash_key(p_old bytea, p_new bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
    PERFORM 1 FROM log_head FOR UPDATE;
    UPDATE tenant SET wrapped_hash_key = p_new WHERE wrapped_hash_key = p_old;
    RETURN FOUND;
END $$;

REVOKE ALL ON FUNCTION {schema}.refuse_retired, {schema}.retire_key_encryption_keys, {schema}.rewrap_hash_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.retire_key_encryption_keys, {schema}.rewrap_hash_key TO rapport_privacy;
