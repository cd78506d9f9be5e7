-- The log of one tenant. {schema} is the tenant's schema; every object here belongs to rapport_owner, who cannot log in.
-- Nothing but append() writes events, and nothing at all changes or removes them.

CREATE TABLE {schema}.tenant (
    one                boolean PRIMARY KEY DEFAULT true CHECK (one),
    tenant_id          uuid NOT NULL,
    reporting_currency text NOT NULL CHECK (length(reporting_currency) = 3),
    time_zone          text NOT NULL,
    wrapped_hash_key   bytea NOT NULL,  -- keys the hashes of claims and requests; wrapped by the key-encryption key
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row: whoever holds its lock is alone with the log. Of moments before it was made, which may be from a backup,
-- all may have been told.
CREATE TABLE {schema}.log_head (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    told_until timestamptz NOT NULL DEFAULT clock_timestamp()  -- the latest moment of which was told what was known
);
INSERT INTO {schema}.log_head DEFAULT VALUES;

CREATE TABLE {schema}.events (
    position           bigint PRIMARY KEY CHECK (position > 0),
    recorded_at        timestamptz NOT NULL,
    occurred_at        timestamptz NOT NULL,
    source_recorded_at timestamptz,
    stream_id          uuid NOT NULL,
    command_id         uuid NOT NULL,
    correlation_id     uuid,
    causation_id       uuid,
    customer_id        uuid,
    version            integer NOT NULL CHECK (version >= 0),
    schema_version     smallint NOT NULL,
    type               text NOT NULL,
    actor              text NOT NULL,
    actor_kind         text NOT NULL,
    on_behalf_of       text,
    reason             text,
    source             text,
    body               bytea NOT NULL,
    CONSTRAINT stream_version UNIQUE (stream_id, version)
);
CREATE INDEX events_customer ON {schema}.events (customer_id, position) WHERE customer_id IS NOT NULL;
ALTER TABLE {schema}.events SET (autovacuum_freeze_min_age = 0);

CREATE TABLE {schema}.commands (
    principal      text NOT NULL,
    key            text NOT NULL,
    command_id     uuid NOT NULL,
    target_id      uuid NOT NULL,
    digest         bytea NOT NULL,  -- keyed hash of the request
    first_position bigint NOT NULL,
    last_position  bigint NOT NULL,
    CONSTRAINT command_once PRIMARY KEY (principal, key)
);

CREATE TABLE {schema}.claims (
    kind       text NOT NULL,
    value      bytea NOT NULL,  -- keyed hash, never clear text
    stream_id  uuid NOT NULL,
    subject_id uuid,            -- whose personal value it is; the claim goes when the subject is erased
    CONSTRAINT claim_once PRIMARY KEY (kind, value)
);
CREATE INDEX claims_subject ON {schema}.claims (subject_id) WHERE subject_id IS NOT NULL;

CREATE TABLE {schema}.subject_keys (
    subject_id   uuid PRIMARY KEY,
    revision     integer NOT NULL DEFAULT 1,
    wrapped      bytea,         -- null: destroyed; the row stays as the fence
    destroyed_at timestamptz,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

CREATE TABLE {schema}.text_keys (
    text_id      uuid PRIMARY KEY,
    subject_id   uuid NOT NULL,
    revision     integer NOT NULL DEFAULT 1,
    wrapped      bytea,
    destroyed_at timestamptz,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);
CREATE INDEX text_keys_subject ON {schema}.text_keys (subject_id);

CREATE TABLE {schema}.snapshots (
    stream_id     uuid PRIMARY KEY,
    aggregate     text NOT NULL,
    version       integer NOT NULL,
    state_version integer NOT NULL,
    state         bytea NOT NULL
);

CREATE TABLE {schema}.api_keys (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    role         text NOT NULL,
    hash         bytea NOT NULL UNIQUE,  -- SHA-256 of 256 random bits
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    revoked_at   timestamptz
);

CREATE FUNCTION {schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON {schema}.events
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {schema}.events EXECUTE FUNCTION {schema}.refuse_change();
-- ALWAYS: they fire even for a superuser with session_replication_role = replica.
ALTER TABLE {schema}.events ENABLE ALWAYS TRIGGER no_change;
ALTER TABLE {schema}.events ENABLE ALWAYS TRIGGER no_truncate;

-- The only way to write the log: all of the batch, or nothing and every reason why not.
-- Separate statements, so that each sees what was committed while this one waited for the head row.
CREATE FUNCTION {schema}.append(
    -- events, in order of position
    p_stream uuid[], p_version int[], p_type text[], p_schema smallint[], p_occurred timestamptz[],
    p_source_recorded timestamptz[], p_actor text[], p_actor_kind text[], p_behalf text[], p_reason text[],
    p_source text[], p_command uuid[], p_correlation uuid[], p_causation uuid[], p_customer uuid[], p_body bytea[],
    -- commands: first and last event as places in the batch, from 1
    c_principal text[], c_key text[], c_id uuid[], c_target uuid[], c_digest bytea[], c_first int[], c_last int[],
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
    -- The way is free, unless a writer that was overtaken too often has taken it for itself.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('writers of {schema}', 0));
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
    INSERT INTO commands
    SELECT u.p, u.k, u.i, u.t, u.d, base + u.f, base + u.l
      FROM unnest(c_principal, c_key, c_id, c_target, c_digest, c_first, c_last) AS u(p, k, i, t, d, f, l);
    INSERT INTO events (position, recorded_at, occurred_at, source_recorded_at, stream_id, command_id, correlation_id,
                        causation_id, customer_id, version, schema_version, type, actor, actor_kind, on_behalf_of,
                        reason, source, body)
    SELECT base + u.ord, at, u.oc, u.sr, u.s, u.c, u.co, u.ca, u.cu, u.v, u.sv, u.t, u.a, u.ak, u.ob, u.re, u.so, u.b
      FROM unnest(p_stream, p_version, p_type, p_schema, p_occurred, p_source_recorded, p_actor, p_actor_kind,
                  p_behalf, p_reason, p_source, p_command, p_correlation, p_causation, p_customer, p_body)
           WITH ORDINALITY AS u(s, v, t, sv, oc, sr, a, ak, ob, re, so, c, co, ca, cu, b, ord);
END $$;

-- The last position recorded at or before a moment; the same whenever it is asked for. For a moment after the last event
-- it waits for the append in flight, which may carry an earlier time than the moment, and keeps later ones behind it.
CREATE FUNCTION {schema}.position_at(p_moment timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE
    low bigint := 0;  -- recorded at or before the moment, or before the first event
    high bigint;      -- recorded after the moment
    middle bigint;
    last_at timestamptz;
    middle_at timestamptz;
BEGIN
    SELECT e.position, e.recorded_at INTO high, last_at FROM events e ORDER BY e.position DESC LIMIT 1;
    IF high IS NULL OR last_at <= p_moment THEN
        IF p_moment >= clock_timestamp() AND p_moment > (SELECT told_until FROM log_head) THEN
            RAISE EXCEPTION 'the moment is not over yet' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        PERFORM 1 FROM log_head FOR UPDATE;
        UPDATE log_head SET told_until = p_moment WHERE told_until < p_moment;
        SELECT e.position, e.recorded_at INTO high, last_at FROM events e ORDER BY e.position DESC LIMIT 1;
        IF high IS NULL THEN RETURN 0; END IF;
        IF last_at <= p_moment THEN RETURN high; END IF;
    END IF;
    WHILE high - low > 1 LOOP
        middle := (low + high) / 2;
        SELECT e.recorded_at INTO STRICT middle_at FROM events e WHERE e.position = middle;
        IF middle_at <= p_moment THEN low := middle; ELSE high := middle; END IF;
    END LOOP;
    RETURN low;
END $$;

-- A snapshot only saves time: the state at a version, for one version of the state's shape.
CREATE FUNCTION {schema}.keep_snapshot(p_stream uuid, p_aggregate text, p_version int, p_state_version int, p_state bytea)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
    INSERT INTO snapshots VALUES (p_stream, p_aggregate, p_version, p_state_version, p_state)
    ON CONFLICT (stream_id) DO UPDATE
       SET version = excluded.version, state_version = excluded.state_version, state = excluded.state
     WHERE (snapshots.state_version, snapshots.version) < (excluded.state_version, excluded.version)
$$;

-- Destroys a subject's keys. No byte of the log changes; the row that is left refuses to let the subject come back.
CREATE FUNCTION {schema}.destroy_subject(p_subject uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
    PERFORM 1 FROM log_head FOR UPDATE;
    INSERT INTO subject_keys (subject_id, wrapped, destroyed_at) VALUES (p_subject, NULL, clock_timestamp())
    ON CONFLICT (subject_id) DO UPDATE SET wrapped = NULL, destroyed_at = clock_timestamp()
     WHERE subject_keys.wrapped IS NOT NULL;
    UPDATE text_keys SET wrapped = NULL, destroyed_at = clock_timestamp()
     WHERE subject_id = p_subject AND wrapped IS NOT NULL;
    DELETE FROM claims WHERE subject_id = p_subject;
END $$;

-- Destroys the key of one free text.
CREATE FUNCTION {schema}.destroy_text(p_text uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
    PERFORM 1 FROM log_head FOR UPDATE;
    UPDATE text_keys SET wrapped = NULL, destroyed_at = clock_timestamp() WHERE text_id = p_text AND wrapped IS NOT NULL;
END $$;

-- Wrapped keys under a new key-encryption key; the keys themselves stay, so no event changes.
CREATE FUNCTION {schema}.rewrap_keys(p_subject uuid[], p_subject_old bytea[], p_subject_new bytea[],
                                     p_text uuid[], p_text_old bytea[], p_text_new bytea[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE
    changed bigint;
    changed_texts bigint;
BEGIN
    PERFORM 1 FROM log_head FOR UPDATE;
    UPDATE subject_keys k SET wrapped = u.new
      FROM unnest(p_subject, p_subject_old, p_subject_new) AS u(id, old, new)
     WHERE k.subject_id = u.id AND k.wrapped = u.old;
    GET DIAGNOSTICS changed = ROW_COUNT;
    UPDATE text_keys k SET wrapped = u.new FROM unnest(p_text, p_text_old, p_text_new) AS u(id, old, new)
     WHERE k.text_id = u.id AND k.wrapped = u.old;
    GET DIAGNOSTICS changed_texts = ROW_COUNT;
    RETURN changed + changed_texts;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO rapport_service, rapport_projector, rapport_reader, rapport_privacy, rapport_operator;
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO rapport_service;
GRANT SELECT ON {schema}.events, {schema}.subject_keys, {schema}.text_keys, {schema}.tenant TO rapport_projector;
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO rapport_privacy, rapport_operator;
GRANT INSERT ON {schema}.tenant TO rapport_operator;
GRANT INSERT, UPDATE (revoked_at) ON {schema}.api_keys TO rapport_operator;
GRANT EXECUTE ON FUNCTION {schema}.append, {schema}.position_at, {schema}.keep_snapshot TO rapport_service;
GRANT EXECUTE ON FUNCTION {schema}.destroy_subject, {schema}.destroy_text, {schema}.rewrap_keys TO rapport_privacy;
