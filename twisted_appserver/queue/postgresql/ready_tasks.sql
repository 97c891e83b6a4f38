-- Temporary functions that find the ready tasks of a queue: see perform_requests.sql.
--
-- Tasks that were handed out or deleted leave entries in the index of ready tasks. They stay until the next vacuum,
-- which any open transaction holds up. So each server remembers the front of each queue: a position up to which every
-- ready task is known. A get looks at the known ones first, and reads the index behind the position.
--
-- Between two transactions of a server, others may have made tasks ready in front of that position. The transactions
-- of a queue follow one another, so later ones are found by what only grows: new tasks by their numbers, tasks that
-- have returned, or come from the outbox, by the table tqueue.returned (migration 14).

-- kind: of the queue at that time, because it determines the positions.
-- first, second, third: the position. "numbers": the ready tasks up to it.
-- last_number, last_return: everything later is not known yet.
CREATE TYPE pg_temp.front AS (
    kind text, first float8, second text COLLATE "C", third int8, numbers int8[], last_number int8, last_return int8
);

-- Choose the next ready tasks of a queue, at most so many. "ids" has the places of their rows, in order. "front" is
-- empty if it is unknown; it is forgotten if too much has happened since. At least the last 10,000 returns are kept
-- (schema.sql).
CREATE FUNCTION pg_temp.choose_ready(
    queue_id int, kind text, many int8, INOUT front text, OUT ids tid[]
) LANGUAGE plpgsql AS $$
DECLARE
    known pg_temp.front := nullif(front, '')::pg_temp.front;
    last_number int8; last_return int8;
    missing int8; found int8; more tid[]; firsts float8[]; seconds text[]; thirds int8[];
BEGIN
    -- The last values that were used; 0 if none was.
    SELECT n.last_value - (NOT n.is_called)::int, r.last_value - (NOT r.is_called)::int
        INTO last_number, last_return FROM tqueue.numbers n, tqueue.returns r;
    IF last_return > known.last_return THEN
        known.numbers := known.numbers || ARRAY(
            SELECT r.number FROM tqueue.returned r WHERE r.queue = queue_id AND r.id > known.last_return LIMIT 500
        );
    END IF;
    IF kind <> 'fifo' AND last_number > known.last_number THEN  -- fifo: they come last
        known.numbers := known.numbers || ARRAY(
            SELECT t.number FROM tqueue.tasks t
            WHERE t.queue = queue_id AND t.number > known.last_number AND t.state + 0 = 0 LIMIT 500
        );
    END IF;
    IF known.kind IS DISTINCT FROM kind OR last_return > known.last_return + 10000
        OR cardinality(known.numbers) >= 500
    THEN
        known := ROW(kind, '-Infinity', '', 0, '{}', last_number, last_return);
    END IF;
    known.last_number := last_number;
    known.last_return := last_return;
    ids := '{}';
    IF known.numbers <> '{}' THEN
        SELECT coalesce(array_agg(f.id ORDER BY f.first, f.second, f.third), '{}'),
            coalesce(array_agg(f.number ORDER BY f.first, f.second, f.third), '{}')
            INTO ids, known.numbers
            FROM (SELECT DISTINCT unnest(known.numbers) AS number) n, LATERAL (
                SELECT t.ctid AS id, t.number, t.first, t.second, t.third FROM tqueue.tasks t
                WHERE t.queue = queue_id AND t.number = n.number AND t.state + 0 = 0
                AND (t.first, t.second, t.third) <= (known.first, known.second, known.third) OFFSET 0
            ) f;
        ids := ids[:many];
        known.numbers := known.numbers[many + 1:];
        IF cardinality(known.numbers) > 200 THEN  -- the index finds them in less time
            known.numbers := known.numbers[:1];
            SELECT t.first, t.second, t.third INTO known.first, known.second, known.third
                FROM tqueue.tasks t WHERE t.queue = queue_id AND t.number = known.numbers[1];
        END IF;
    END IF;
    missing := many - cardinality(ids);
    IF missing > 0 THEN
        SELECT count(*), coalesce(array_agg(f.id), '{}'), array_agg(f.first), array_agg(f.second), array_agg(f.third)
            INTO found, more, firsts, seconds, thirds
            FROM (
                SELECT t.ctid AS id, t.first, t.second, t.third FROM tqueue.tasks t
                WHERE t.queue = queue_id AND t.state = 0
                AND (t.first, t.second, t.third) > (known.first, known.second, known.third)
                ORDER BY t.first, t.second, t.third LIMIT missing
            ) f;
        ids := ids || more;
        IF found = missing THEN
            known.first := firsts[found];
            known.second := seconds[found];
            known.third := thirds[found];
        ELSE  -- no task that exists now has a later position; NaN comes after all numbers
            known.first := CASE WHEN kind = 'fifo' THEN 0 ELSE 'NaN'::float8 END;
            known.second := '';
            known.third := known.last_number;
        END IF;
    END IF;
    front := known::text;
END $$;
