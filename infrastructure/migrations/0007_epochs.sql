-- Within an epoch a position means the same event for ever. A restore begins one after the last position that is the same in
-- both logs. A log that is there already has one from its first position on; with an id of its own that a backup from before
-- gets, too, so that who follows either can go on.

CREATE TABLE {schema}.epochs (
    number         integer PRIMARY KEY CHECK (number > 0),  -- in the order in which they were begun
    id             uuid NOT NULL UNIQUE,
    first_position bigint NOT NULL CHECK (first_position > 0),
    begun_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason         text NOT NULL
);
INSERT INTO {schema}.epochs (number, id, first_position, reason)
SELECT 1, coalesce((SELECT md5('first epoch of ' || tenant_id)::uuid FROM {schema}.tenant), gen_random_uuid()), 1,
       'the log was begun';
GRANT SELECT ON {schema}.epochs TO rapport_service, rapport_privacy, rapport_operator, rapport_backup;

-- Begins an epoch: up to this position the log has what was there before, after it nothing is said.
CREATE FUNCTION {schema}.begin_epoch(p_after bigint, p_reason text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE
    begun uuid := gen_random_uuid();
BEGIN
    PERFORM 1 FROM log_head FOR UPDATE;
    IF p_after IS NULL OR p_after < 0 OR p_after > (SELECT coalesce(max(position), 0) FROM events) THEN
        RAISE EXCEPTION 'the log has no position %', p_after USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO epochs (number, id, first_position, reason)
    SELECT max(number) + 1, begun, p_after + 1, p_reason FROM epochs;
    RETURN begun;
END $$;
REVOKE ALL ON FUNCTION {schema}.begin_epoch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.begin_epoch TO rapport_operator;
