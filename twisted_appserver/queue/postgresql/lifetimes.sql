-- Temporary functions for the terms of single tasks, such as their time to live: see perform_requests.sql.

-- Return whether a task has been delivered too often. "usual": the option of its queue; 0 for no limit.
CREATE FUNCTION pg_temp.is_spent(deliveries int, terms jsonb, usual int8) RETURNS bool
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((terms ->> 'max_deliveries')::int8, usual)
        BETWEEN 1 AND deliveries - coalesce((terms ->> 'forgiven')::int8, 0)
$$;

-- Return the terms of a task that is put at this moment.
CREATE FUNCTION pg_temp.begun(terms jsonb, moment timestamptz) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN terms ? 'ttl'
        THEN terms || jsonb_build_object('ends', extract(epoch FROM moment)::float8 + (terms ->> 'ttl')::float8)
        ELSE terms END
$$;

-- Return the terms of a task that is kicked at this moment: the deliveries so far do not count any more.
CREATE FUNCTION pg_temp.kicked(terms jsonb, deliveries int, moment timestamptz) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(pg_temp.begun(terms, moment), '{}') || jsonb_build_object('forgiven', deliveries)
$$;

-- Remove the waiting tasks of a queue whose time to live is over, at most 10,000 at once. Return how many.
CREATE FUNCTION pg_temp.end_lifetimes(queue_id int, keep float8, moment timestamptz) RETURNS int8
LANGUAGE plpgsql AS $$
DECLARE
    ended int8; groups text[];
BEGIN
    WITH gone AS (
        DELETE FROM tqueue.tasks t WHERE t.ctid = ANY (ARRAY(
            SELECT x.ctid FROM tqueue.tasks x WHERE x.queue = queue_id AND x.terms IS NOT NULL
            AND (x.terms ->> 'ends')::float8 <= extract(epoch FROM moment)::float8 AND x.state IN (0, 1, 4)
            ORDER BY (x.terms ->> 'ends')::float8 LIMIT 10000
        )) RETURNING t.number, t.attempts, t."group"
    ), kept AS (
        INSERT INTO tqueue.finished SELECT queue_id, g.number, 'expired', '', 'its time to live is over', moment,
            moment + make_interval(secs => keep)
        FROM gone g WHERE coalesce(keep, 0) > 0
    ), forgotten AS (
        DELETE FROM tqueue.attempts a USING gone g
        WHERE coalesce(keep, 0) = 0 AND g.attempts > 0 AND a.queue = queue_id AND a.number = g.number
    ) SELECT count(*), array_agg(g."group") INTO ended, groups FROM gone g;
    PERFORM pg_temp.fill_places(queue_id, 0, groups);
    RETURN ended;
END $$;
