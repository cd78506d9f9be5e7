-- A writer that was overtaken too often reserves the log in the head row. It was an advisory lock that every append shared,
-- which any role that may connect could take, and keep.

ALTER TABLE {schema}.log_head
    ADD COLUMN reserved_by    integer,      -- the backend of the writer that has reserved the log
    ADD COLUMN reserved_until timestamptz;

-- Waits while another connection has reserved the log, until a moment at most. No lock is held for a reservation, so that
-- nobody can sit on it: it ends with its connection, and after two seconds; of more a clock that was put back is to blame.
CREATE FUNCTION {schema}.wait_while_reserved(p_until timestamptz) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
    WHILE clock_timestamp() < p_until AND EXISTS (
        SELECT 1 FROM log_head h
         WHERE h.reserved_by <> pg_backend_pid()
           AND h.reserved_until BETWEEN clock_timestamp() AND clock_timestamp() + interval '2 seconds'
           AND EXISTS (SELECT 1 FROM pg_stat_get_activity(h.reserved_by))) LOOP
        PERFORM pg_sleep(0.002), pg_stat_clear_snapshot();
    END LOOP;
END $$;

-- Reserves the log for this connection, for so many seconds, two at most; false if others were faster for as long.
CREATE FUNCTION {schema}.reserve_log(p_seconds double precision) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE
    span interval := least(p_seconds, 2) * interval '1 second';
    give_up_at timestamptz := clock_timestamp() + span;
BEGIN
    LOOP
        PERFORM wait_while_reserved(give_up_at);
        BEGIN
            PERFORM 1 FROM log_head FOR UPDATE;
            -- A statement of its own: it sees who has reserved the log while this one waited for the row.
            UPDATE log_head h SET reserved_by = pg_backend_pid(), reserved_until = clock_timestamp() + span
             WHERE h.reserved_by IS NULL OR h.reserved_by = pg_backend_pid()
                OR h.reserved_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '2 seconds'
                OR NOT EXISTS (SELECT 1 FROM pg_stat_get_activity(h.reserved_by));
            IF FOUND THEN RETURN true; END IF;
            RAISE SQLSTATE '55P03';  -- gives the row back, which who was faster needs
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() >= give_up_at THEN RETURN false; END IF;
        END;
    END LOOP;
END $$;

-- Ends what this connection has reserved.
CREATE FUNCTION {schema}.release_log() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
    UPDATE log_head SET reserved_by = NULL, reserved_until = NULL WHERE reserved_by = pg_backend_pid()
$$;

REVOKE ALL ON FUNCTION {schema}.wait_while_reserved, {schema}.reserve_log, {schema}.release_log FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.reserve_log, {schema}.release_log TO rapport_service;

-- As before, but that it waits for the reservation and for no lock that others than these functions can take.
CREATE OR REPLACE FUNCTION {schema}.append(
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
