-- A temporary function for the groups of a queue: see perform_requests.sql.
--
-- A task of a group is put as held. It gets a place in its group, and becomes ready or delayed, when a place is free
-- and no held task of the group has a lower number. It gives its place up when it is deleted or buried.

-- Give the free places of groups to the tasks that are held. Return how many. The transaction holds the lock of the
-- queue, so that no other server sees the same place as free.
CREATE FUNCTION pg_temp.fill_places(queue_id int, lowest_number int8, names text[]) RETURNS int8
LANGUAGE plpgsql AS $$
DECLARE
    at_once int8; name text; free int8; filled int8 := 0; more int8; moment timestamptz := clock_timestamp();
BEGIN
    SELECT coalesce((q.config::jsonb ->> 'at_once')::int8, 1) INTO at_once
        FROM tqueue.queues q WHERE q.id = queue_id;
    FOR name IN SELECT DISTINCT n FROM unnest(names) AS n WHERE n IS NOT NULL LOOP
        free := at_once - (SELECT count(*) FROM (
            SELECT FROM tqueue.tasks t WHERE t.queue = queue_id AND t."group" = name
            AND t.number >= lowest_number AND t.state IN (0, 1, 2) LIMIT at_once
        ) places);
        CONTINUE WHEN free = 0;
        UPDATE tqueue.tasks t SET state = CASE WHEN t.at > moment THEN 1 ELSE 0 END,
            at = CASE WHEN t.at > moment THEN t.at END
        WHERE t.ctid = ANY (ARRAY(
            SELECT h.ctid FROM tqueue.tasks h WHERE h.queue = queue_id AND h."group" = name
            AND h.number >= lowest_number AND h.state = 4 ORDER BY h.number LIMIT free
        ));
        GET DIAGNOSTICS more = ROW_COUNT;
        filled := filled + more;
    END LOOP;
    RETURN filled;
END $$;

