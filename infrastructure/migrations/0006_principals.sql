-- A principal is who sends requests; a credential proves it. A principal may have several at once, so that one can be
-- exchanged while requests come in. What belongs to a principal (idempotency keys, events, limits) stays with it.

CREATE TABLE {schema}.principals (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    role       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz
);

CREATE TABLE {schema}.credentials (
    id           uuid PRIMARY KEY,
    principal_id uuid NOT NULL REFERENCES {schema}.principals,
    hash         bytea NOT NULL UNIQUE,  -- SHA-256 of 256 random bits
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

ALTER TABLE {schema}.credentials ALTER COLUMN hash SET STATISTICS 0;  -- as migration 0005 does with all bytes

-- What was both becomes a principal with one credential, of the same id: `actor` in events and `principal` of commands
-- stay what they are.
INSERT INTO {schema}.principals (id, name, role, created_at, retired_at)
SELECT id, name, role, created_at, revoked_at FROM {schema}.api_keys;
INSERT INTO {schema}.credentials (id, principal_id, hash, created_at, expires_at, revoked_at)
SELECT id, id, hash, created_at, expires_at, revoked_at FROM {schema}.api_keys;
DROP TABLE {schema}.api_keys;

-- Of several in force with one name the oldest keeps it; the later ones are numbered.
DO $$
DECLARE
    double record;
    number integer;
BEGIN
    FOR double IN
        SELECT p.id, p.name FROM {schema}.principals p
         WHERE p.retired_at IS NULL AND EXISTS (
            SELECT 1 FROM {schema}.principals q WHERE q.retired_at IS NULL AND q.name = p.name
               AND (q.created_at, q.id) < (p.created_at, p.id))
         ORDER BY p.created_at, p.id
    LOOP
        number := 2;
        WHILE EXISTS (SELECT 1 FROM {schema}.principals q
                       WHERE q.retired_at IS NULL AND q.name = format('%s (%s)', double.name, number)) LOOP
            number := number + 1;
        END LOOP;
        UPDATE {schema}.principals SET name = format('%s (%s)', double.name, number) WHERE id = double.id;
    END LOOP;
END $$;
CREATE UNIQUE INDEX principals_in_force ON {schema}.principals (name) WHERE retired_at IS NULL;
CREATE INDEX credentials_principal ON {schema}.credentials (principal_id);

GRANT SELECT ON {schema}.principals, {schema}.credentials
   TO rapport_service, rapport_privacy, rapport_operator, rapport_backup;
-- Neither name nor role of a principal ever changes, nor whose a credential is.
GRANT INSERT, UPDATE (retired_at) ON {schema}.principals TO rapport_operator;
GRANT INSERT, UPDATE (revoked_at) ON {schema}.credentials TO rapport_operator;

-- A function and no right to update: who may update a row may also lock it, and keep it from being revoked.
CREATE FUNCTION {schema}.note_credentials_used(p_credential uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
    UPDATE credentials SET last_used_at = clock_timestamp() WHERE id = ANY(p_credential)
$$;
REVOKE ALL ON FUNCTION {schema}.note_credentials_used FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.note_credentials_used TO rapport_service;

-- With which credential a command was sent; null for those from before, whose credential has the id of the principal.
ALTER TABLE {schema}.commands ADD COLUMN credential_id uuid;

-- As before, but that a command says with which credential it was sent.
DROP FUNCTION {schema}.append;
CREATE FUNCTION {schema}.append(
    -- events, in order of position
    p_stream uuid[], p_version int[], p_type text[], p_schema smallint[], p_occurred timestamptz[],
    p_source_recorded timestamptz[], p_actor text[], p_actor_kind text[], p_behalf text[], p_reason text[],
    p_source text[], p_command uuid[], p_correlation uuid[], p_causation uuid[], p_customer uuid[], p_body bytea[],
    -- commands: first and last event as places in the batch, from 1; where nothing changed, the last is before the first
    c_principal text[], c_key text[], c_id uuid[], c_target uuid[], c_digest bytea[], c_credential uuid[],
    c_first int[], c_last int[],
    -- streams that were only read, and the versions they had; claims that were followed, and the streams they led to
    r_stream uuid[], r_version int[], f_kind text[], f_value bytea[], f_stream uuid[],
    -- claims given back and taken
    drop_kind text[], drop_value bytea[], drop_stream uuid[],
    take_kind text[], take_value bytea[], take_stream uuid[], take_subject uuid[],
    -- subjects: keys made for new ones, all that are written about, keys of free texts
    k_subject uuid[], k_wrapped bytea[], s_subject uuid[], t_text uuid[], t_subject uuid[], t_wrapped bytea[],
    OUT base bigint, OUT at timestamptz, OUT known int[], OUT stale uuid[], OUT moved int[], OUT taken int[],
    OUT fenced uuid[], OUT erased uuid[]
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
DECLARE
    told timestamptz;
BEGIN
    PERFORM wait_while_reserved(clock_timestamp() + interval '2 seconds');
    SELECT h.told_until INTO told FROM log_head h FOR UPDATE;  -- from here on we are alone

    SELECT e.position, e.recorded_at INTO base, at FROM events e ORDER BY e.position DESC LIMIT 1;
    base := coalesce(base, 0);
    -- The clock may have been put back: nothing is recorded before what was recorded or what was told already.
    at := greatest(at, told + interval '1 microsecond', clock_timestamp());

    SELECT array_agg(u.i ORDER BY u.i) INTO known
      FROM unnest(c_principal, c_key) WITH ORDINALITY AS u(p, k, i) JOIN commands c ON c.principal = u.p AND c.key = u.k;

    -- What is written follows, event by event, the version that a stream has; what was only read has it.
    SELECT array_agg(DISTINCT q.s) INTO stale FROM (
        SELECT f.s, min(f.v) AS v, min(f.v) = max(f.v) AS whole
          FROM (SELECT u.s, u.v - row_number() OVER (PARTITION BY u.s ORDER BY u.i) AS v
                  FROM unnest(p_stream, p_version) WITH ORDINALITY AS u(s, v, i)) f GROUP BY 1
        UNION ALL SELECT u.s, u.v, true FROM unnest(r_stream, r_version) AS u(s, v)) q
     WHERE NOT q.whole OR q.v <> coalesce(
        (SELECT e.version FROM events e WHERE e.stream_id = q.s ORDER BY e.version DESC LIMIT 1), least(q.v, 0));

    SELECT array_agg(u.i ORDER BY u.i) INTO moved
      FROM unnest(f_kind, f_value, f_stream) WITH ORDINALITY AS u(k, v, s, i)
     WHERE u.s IS DISTINCT FROM (SELECT c.stream_id FROM claims c WHERE c.kind = u.k AND c.value = u.v);

    SELECT array_agg(u.i ORDER BY u.i) INTO taken
      FROM unnest(take_kind, take_value, take_stream) WITH ORDINALITY AS u(k, v, s, i)
      JOIN claims c ON c.kind = u.k AND c.value = u.v
     WHERE NOT EXISTS (SELECT 1 FROM unnest(drop_kind, drop_value, drop_stream) AS d(k, v, s)
                        WHERE d.k = c.kind AND d.v = c.value AND d.s = c.stream_id);

    SELECT array_agg(k.subject_id) INTO fenced FROM subject_keys k WHERE k.subject_id = ANY(k_subject);
    SELECT array_agg(k.subject_id) INTO erased FROM subject_keys k
     WHERE k.subject_id = ANY(s_subject) AND k.wrapped IS NULL;

    IF known IS NOT NULL OR stale IS NOT NULL OR moved IS NOT NULL OR taken IS NOT NULL OR fenced IS NOT NULL
       OR erased IS NOT NULL THEN
        base := NULL;
        RETURN;
    END IF;

    IF cardinality(drop_kind) > 0 THEN
        DELETE FROM claims c USING unnest(drop_kind, drop_value, drop_stream) AS d(k, v, s)
         WHERE c.kind = d.k AND c.value = d.v AND c.stream_id = d.s;
    END IF;
    IF cardinality(take_kind) > 0 THEN
        INSERT INTO claims SELECT * FROM unnest(take_kind, take_value, take_stream, take_subject);
    END IF;
    IF cardinality(k_subject) > 0 THEN
        INSERT INTO subject_keys (subject_id, wrapped) SELECT * FROM unnest(k_subject, k_wrapped);
    END IF;
    IF cardinality(t_text) > 0 THEN
        INSERT INTO text_keys (text_id, subject_id, wrapped) SELECT * FROM unnest(t_text, t_subject, t_wrapped);
    END IF;
    INSERT INTO commands (principal, key, command_id, target_id, digest, credential_id, first_position, last_position)
    SELECT u.p, u.k, u.i, u.t, u.d, u.c, base + u.f, base + u.l
      FROM unnest(c_principal, c_key, c_id, c_target, c_digest, c_credential, c_first, c_last)
           AS u(p, k, i, t, d, c, f, l);
    INSERT INTO events (position, recorded_at, occurred_at, source_recorded_at, stream_id, command_id, correlation_id,
                        causation_id, customer_id, version, schema_version, type, actor, actor_kind, on_behalf_of,
                        reason, source, body)
    SELECT base + u.ord, at, u.oc, u.sr, u.s, u.c, u.co, u.ca, u.cu, u.v, u.sv, u.t, u.a, u.ak, u.ob, u.re, u.so, u.b
      FROM unnest(p_stream, p_version, p_type, p_schema, p_occurred, p_source_recorded, p_actor, p_actor_kind,
                  p_behalf, p_reason, p_source, p_command, p_correlation, p_causation, p_customer, p_body)
           WITH ORDINALITY AS u(s, v, t, sv, oc, sr, a, ak, ob, re, so, c, co, ca, cu, b, ord);
END $$;

REVOKE ALL ON FUNCTION {schema}.append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.append TO rapport_service;
