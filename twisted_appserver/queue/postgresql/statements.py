"""What is asked of a queue most, in one statement: done, put and get of many requests.

Strategy: a function in the database does them, so that one message goes there and one comes back, and nothing
is waited for while the queue is locked. It is made anew on each connection, in the session's own schema: the
program's text is the program's, the database has what must last.
"""

from twisted_appserver.queue.postgresql.schema import BURIED, DELAYED, GAP, LEASED, READY

CHANNEL = "tqueue"  # by which servers tell each other what has changed
PLACES = {  # of a task that waits in its queue, by the queue's kind
    "fifo": ("0", "''", "number"),
    "lifo": ("CASE WHEN deliveries > 0 THEN 0 ELSE 1 END", "''", "-number"),
    "priority": ("priority", '"order"', "number"),
}
FIRST, SECOND, THIRD = (
    f"CASE kind {' '.join(f'WHEN {kind!r} THEN {place[which]}' for kind, place in PLACES.items())} END"
    for which in range(3)
)
MOST = 10_000  # tasks whose time has come, at once
SLACK = 1  # seconds by which the clock may be set back unnoticed
TURN = (
    "SELECT * FROM pg_temp.turn(%s::int, %s, %s, %s, %s, %s::int8[], %s::int8[], %b::bytea[], "
    "%s::float8[], %s::text[], %s::float8[], %s::text[], %s::text[], %b::bytea[], "
    "%s, %s::float8[], %s::text[])"
)

# For a queue that is locked, and has no task with a number below "lowest", and none whose time comes before
# "since": what is gone stays in the indexes until the next vacuum, and need not be walked through each time.
# A list may be empty where all have the usual value.
# Rows of the answer, by "what": "done", "put" (those of a batch have numbers in their order), "known" (put
# before, under the same key; its digest as body), "get" and "again" (got before, under the same key) are
# tasks, the last three with the place of their request. "shut": no put was let in. "drained": no get without
# a task will ever have one. "returned": how many leases ran out. "line": something has changed for those who
# wait in the line named by "order". "lowest" (as number) and "since" (as lease), for the next time.
# Each statement sees all that was committed before it (PostgreSQL, sections 13.2.1 and 38.7). A plan is made
# when the table is still empty, and then kept: so rows are looked up by what only one index can serve, or by
# their place (ctid), which cannot change while the queue is locked.
DEFINITION = f"""
CREATE FUNCTION pg_temp.turn(
    this int, server text, stamp int8, lowest int8, since float8,
    done_numbers int8[], done_deliveries int8[],
    put_bodies bytea[], put_priorities float8[], put_orders text[], put_delays float8[],
    put_keys text[], put_lanes text[], put_digests bytea[],
    gets int8, get_leases float8[], get_holders text[]
) RETURNS TABLE (
    what text, place int8, number int8, body bytea, priority float8, "order" text, deliveries int,
    holder text, lease float8
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    options jsonb; title text; kind text; shut bool; most int8; size int8; moment timestamptz;
    known int8[]; added int8[]; room int8; wanting int8[]; many int8; lines text[] := '{{}}';
    bound float8 := '-Infinity'; next_since float8; usual float8; ending bool; state int;
BEGIN
    SELECT q.config::jsonb, q.name INTO options, title FROM tqueue.queues q WHERE q.id = this;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'the queue has been deleted';
    END IF;
    kind := options ->> 'kind';
    IF kind = 'fifo' THEN
        bound := 0;
    END IF;
    shut := options ->> 'shutdown' <> '';
    size := options ->> 'maxsize';
    most := options ->> 'max_deliveries';
    usual := options ->> 'lease';
    moment := clock_timestamp();
    next_since := extract(epoch FROM moment) - {SLACK};
    IF since > next_since THEN  -- the clock was set back
        since := 0;
    END IF;
    ending := (SELECT m.alive FROM tqueue.meta m) > moment - make_interval(secs => {GAP});
    IF ending IS NOT TRUE THEN  -- no server was there to renew leases: they are prolonged first
        next_since := since;
    END IF;

    -- What the time has brought: leases that have run out, delays that have ended.
    IF EXISTS (
        SELECT FROM tqueue.tasks t
        WHERE t.queue = this AND t.state IN ({DELAYED}, {LEASED})
        AND t.at BETWEEN to_timestamp(since) AND moment AND (ending OR t.state = {DELAYED})
    ) THEN
        WITH due AS (
            SELECT t.ctid AS id, t.state AS was FROM tqueue.tasks t
            WHERE t.queue = this AND t.state IN ({DELAYED}, {LEASED})
            AND t.at BETWEEN to_timestamp(since) AND moment AND (ending OR t.state = {DELAYED})
            ORDER BY t.at LIMIT {MOST}
        ), back AS (
            UPDATE tqueue.tasks t SET at = NULL, holder = '',
                first = {FIRST}, second = {SECOND}, third = {THIRD},
                state = CASE WHEN due.was = {LEASED} AND most > 0 AND deliveries >= most
                    THEN {BURIED} ELSE {READY} END
            FROM due WHERE t.ctid = due.id RETURNING due.was
        ) SELECT count(*) FILTER (WHERE was = {LEASED}), count(*) INTO number, many FROM back;
        IF many = {MOST} THEN
            next_since := since;
        END IF;
        what := 'returned';
        RETURN NEXT;
        lines := lines || 'getters'::text;
        IF number > 0 AND most > 0 THEN  -- perhaps only what is buried is left
            lines := lines || 'joiners'::text;
        END IF;
    END IF;

    IF done_numbers <> '{{}}' THEN
        what := 'done';
        FOR i IN 1 .. cardinality(done_numbers) LOOP
            DELETE FROM tqueue.tasks t WHERE t.queue = this AND t.number = done_numbers[i]
                AND t.state + 0 = {LEASED} AND coalesce(done_deliveries[i], 0) IN (0, t.deliveries)
                RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder
                INTO number, body, priority, "order", deliveries, holder;
            IF FOUND THEN
                RETURN NEXT;
            END IF;
        END LOOP;
        SELECT t.number, t.state INTO number, state FROM tqueue.tasks t
            WHERE t.queue = this AND t.number >= lowest ORDER BY t.number LIMIT 1;
        IF NOT FOUND THEN
            lines := lines || 'joiners'::text;
            number := (SELECT last_value FROM tqueue.numbers);
        ELSIF state = {BURIED} AND NOT EXISTS (
            SELECT FROM tqueue.tasks t WHERE t.queue = this AND t.number >= number AND t.state + 0 <> {BURIED}
        ) THEN
            lines := lines || 'joiners'::text;
        END IF;
        what := 'lowest';
        RETURN NEXT;
    END IF;

    IF put_bodies <> '{{}}' THEN
        IF put_keys <> '{{}}' THEN
            known := ARRAY(
                SELECT (
                    SELECT k.number FROM tqueue.keys k WHERE k.queue = this AND k.lane = w.lane
                    AND w.key <> '' AND k.key = w.key AND k.until > moment
                ) FROM unnest(put_keys, put_lanes) WITH ORDINALITY AS w(key, lane, place) ORDER BY w.place
            );
            what := 'known';
            FOR i IN 1 .. cardinality(known) LOOP
                CONTINUE WHEN known[i] IS NULL;
                SELECT i, known[i], k.digest INTO place, number, body
                    FROM tqueue.keys k WHERE k.queue = this AND k.lane = put_lanes[i];
                RETURN NEXT;
            END LOOP;
            body := NULL;
        END IF;
        IF shut THEN
            what := 'shut';
            RETURN NEXT;
            room := 0;
        ELSIF size > 0 THEN
            room := greatest(0, size - (SELECT count(*) FROM (
                SELECT FROM tqueue.tasks t
                WHERE t.queue = this AND t.number >= lowest AND t.state IN ({READY}, {DELAYED}) LIMIT size
            ) waiting));
        END IF;
        WITH fresh AS (
            SELECT nextval('tqueue.numbers') AS number, 0 AS deliveries, w.* FROM (
                SELECT u.body, coalesce(u.priority, 0) AS priority, coalesce(u."order", '') AS "order",
                    u.delay
                FROM unnest(put_bodies, put_priorities, put_orders, put_delays)
                    WITH ORDINALITY AS u(body, priority, "order", delay, place)
                WHERE known[u.place] IS NULL ORDER BY u.place LIMIT room
            ) w
        ), new AS (
            INSERT INTO tqueue.tasks
                (queue, number, body, priority, "order", state, at, first, second, third)
            SELECT this, f.number, f.body, f.priority, f."order",
                CASE WHEN f.delay > 0 THEN {DELAYED} ELSE {READY} END,
                CASE WHEN f.delay > 0 THEN moment + make_interval(secs => f.delay) END,
                {FIRST}, {SECOND}, {THIRD}
            FROM fresh f RETURNING number, state
        ) SELECT coalesce(array_agg(n.number ORDER BY n.number), '{{}}'),
            count(*) FILTER (WHERE n.state = {READY}) INTO added, many FROM new n;
        what := 'put';
        FOREACH number IN ARRAY added LOOP
            RETURN NEXT;
        END LOOP;
        IF put_keys <> '{{}}' THEN  -- of a lane, the last key is remembered
            INSERT INTO tqueue.keys SELECT DISTINCT ON (w.lane) this, w.lane, w.key, w.number,
                moment + make_interval(secs => (options ->> 'remember')::float8), put_digests[w.place]
            FROM (
                SELECT u.*, added[row_number() OVER (ORDER BY u.place)] AS number
                FROM unnest(put_keys, put_lanes) WITH ORDINALITY AS u(key, lane, place)
                WHERE known[u.place] IS NULL
            ) w WHERE w.key <> '' AND w.number IS NOT NULL ORDER BY w.lane, w.place DESC
            ON CONFLICT (queue, lane) DO UPDATE
            SET key = excluded.key, number = excluded.number, until = excluded.until,
                digest = excluded.digest;
        END IF;
        IF many > 0 THEN
            lines := lines || 'getters'::text;
        END IF;
    END IF;

    IF gets > 0 THEN
        what := 'again';
        wanting := ARRAY(
            SELECT n FROM generate_series(1, gets) AS n WHERE NOT EXISTS (
                SELECT FROM tqueue.tasks t WHERE t.queue = this AND t.holder <> ''
                AND t.holder = get_holders[n] OFFSET 0
            ) ORDER BY n
        );
        FOR i IN 1 .. gets LOOP
            EXIT WHEN cardinality(wanting) = gets;
            CONTINUE WHEN i = ANY (wanting);
            UPDATE tqueue.tasks t SET at = clock_timestamp() + make_interval(secs =>
                    coalesce(get_leases[i], usual))
                WHERE t.ctid = (
                    SELECT x.ctid FROM tqueue.tasks x
                    WHERE x.queue = this AND x.holder <> '' AND x.holder = get_holders[i] LIMIT 1
                )
                RETURNING i, t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
                    extract(epoch FROM t.at)
                INTO place, number, body, priority, "order", deliveries, holder, lease;
            RETURN NEXT;  -- its answer was lost: the same task again, with a lease of its own
        END LOOP;
        RETURN QUERY UPDATE tqueue.tasks t SET state = {LEASED}, deliveries = t.deliveries + 1,
                holder = coalesce(get_holders[p.place], ''), at = moment + make_interval(secs =>
                    coalesce(get_leases[p.place], usual))
            FROM (
                SELECT f.id, wanting[row_number() OVER (ORDER BY f.first, f.second, f.third)] AS place FROM (
                    SELECT t.ctid AS id, t.first, t.second, t.third FROM tqueue.tasks t
                    WHERE t.queue = this AND t.state = {READY}
                    AND (t.first, t.second, t.third) >= (bound, '', lowest)
                    ORDER BY t.first, t.second, t.third LIMIT cardinality(wanting)
                ) f
            ) p
            WHERE t.ctid = p.id
            RETURNING 'get', p.place, t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
                extract(epoch FROM t.at)::float8;
        GET DIAGNOSTICS many = ROW_COUNT;
        IF many > 0 AND size > 0 THEN
            lines := lines || 'putters'::text;
        END IF;
        IF many < cardinality(wanting) AND shut AND NOT EXISTS (
            SELECT FROM tqueue.tasks t
            WHERE t.queue = this AND t.number >= lowest AND t.state IN ({READY}, {DELAYED})
        ) THEN
            what := 'drained';
            RETURN NEXT;
            lines := lines || 'getters'::text;
        END IF;
    END IF;

    what := 'since';
    lease := next_since;
    RETURN NEXT;
    what := 'line';
    FOREACH "order" IN ARRAY lines LOOP
        RETURN NEXT;
        PERFORM pg_notify('{CHANNEL}', concat_ws(' ', server, "order", title));
    END LOOP;
    IF stamp > 0 AND pg_current_xact_id_if_assigned() IS NOT NULL THEN
        INSERT INTO tqueue.commits VALUES (server, stamp);
    END IF;
END $$
"""
