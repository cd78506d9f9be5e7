-- A writer whose batches are always overtaken by those of another process may take the way to the log for itself, for as
-- long as it decides and appends: it holds the advisory lock that every append shares. Nothing else in append() is new.

-- The only way to write the log: all of the batch, or nothing and every reason why not.
-- Separate statements, so that each sees what was committed while this one waited for the head row.
CREATE OR REPLACE FUNCTION {schema}.append(
    -- events, in order of position
    p_stream uuid[], p_version int[], p_type text[], p_schema smallint[], p_occurred timestamptz[],
    p_source_recorded timestamptz[], p_actor text[], p_actor_kind text[], p_behalf text[], p_reason text[],
    p_source text[], p_command uuid[], p_correlation uuid[], p_causation uuid[], p_customer uuid[], p_body bytea[],
    -- commands: first and last event as places in the batch, from 1
    c_principal text[], c_key text[], c_id uuid[], c_target uuid[], c_digest bytea[], c_first int[], c_last int[],
    -- streams that were only read, and the versions they had
    r_stream uuid[], r_version int[],
    -- claims given back and taken
    drop_kind text[], drop_value bytea[], drop_stream uuid[],
    take_kind text[], take_value bytea[], take_stream uuid[], take_subject uuid[],
    -- subjects: keys made for new ones, all that are written about, keys of free texts
    k_subject uuid[], k_wrapped bytea[], s_subject uuid[], t_text uuid[], t_subject uuid[], t_wrapped bytea[],
    OUT base bigint, OUT at timestamptz, OUT known int[], OUT stale uuid[], OUT taken int[], OUT fenced uuid[],
    OUT erased uuid[]
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
BEGIN
    -- The way is free, unless a writer that was overtaken too often has taken it for itself.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('writers of {schema}', 0));
    PERFORM 1 FROM log_head FOR UPDATE;  -- from here on we are alone

    SELECT e.position, e.recorded_at INTO base, at FROM events e ORDER BY e.position DESC LIMIT 1;
    base := coalesce(base, 0);
    at := greatest(at, clock_timestamp());

    SELECT array_agg(u.i ORDER BY u.i) INTO known
      FROM unnest(c_principal, c_key) WITH ORDINALITY AS u(p, k, i) JOIN commands c ON c.principal = u.p AND c.key = u.k;

    SELECT array_agg(DISTINCT q.s) INTO stale FROM (
        SELECT u.s, min(u.v) - 1 AS v, max(u.v) - min(u.v) + 1 = count(*) AS whole
          FROM unnest(p_stream, p_version) AS u(s, v) GROUP BY 1
        UNION ALL SELECT u.s, u.v, true FROM unnest(r_stream, r_version) AS u(s, v)) q
     WHERE NOT q.whole OR q.v <> coalesce(
        (SELECT e.version FROM events e WHERE e.stream_id = q.s ORDER BY e.version DESC LIMIT 1), least(q.v, 0));

    SELECT array_agg(u.i ORDER BY u.i) INTO taken
      FROM unnest(take_kind, take_value, take_stream) WITH ORDINALITY AS u(k, v, s, i)
      JOIN claims c ON c.kind = u.k AND c.value = u.v
     WHERE NOT EXISTS (SELECT 1 FROM unnest(drop_kind, drop_value, drop_stream) AS d(k, v, s)
                        WHERE d.k = c.kind AND d.v = c.value AND d.s = c.stream_id);

    SELECT array_agg(k.subject_id) INTO fenced FROM subject_keys k WHERE k.subject_id = ANY(k_subject);
    SELECT array_agg(k.subject_id) INTO erased FROM subject_keys k
     WHERE k.subject_id = ANY(s_subject) AND k.wrapped IS NULL;

    IF known IS NOT NULL OR stale IS NOT NULL OR taken IS NOT NULL OR fenced IS NOT NULL OR erased IS NOT NULL THEN
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
