-- Tasks that programs put in their own transactions with tqueue.put. The servers move them into the queues after
-- the commit, see outbox.sql.
--
-- A task has its number, and so its id, from the call on. When it is moved, its queue may already have had later
-- tasks, so servers may know a bound for the lowest number that is too high. They learn of it from tqueue.returned
-- (migration 14). Only servers of earlier versions read "late_number" and "late_count".

CREATE TABLE tqueue.outbox (
    xid xid8 NOT NULL,
    number int8 NOT NULL,
    queue text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    priority float8 NOT NULL,
    "order" text COLLATE "C" NOT NULL,
    delay float8 NOT NULL,
    terms jsonb,
    unique_for float8 NOT NULL,
    put_at timestamptz NOT NULL,
    PRIMARY KEY (xid, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE tqueue.queues ADD COLUMN late_count int8 NOT NULL DEFAULT 0, ADD COLUMN late_number int8 NOT NULL DEFAULT 0;
ALTER TABLE tqueue.meta ADD COLUMN max_task int8 NOT NULL DEFAULT 1048576;

-- Return whether text has characters that are not printable: controls, formats, separators, private use.
CREATE FUNCTION tqueue.is_unprintable(text) RETURNS bool
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT $1 COLLATE "C" ~ (
        '[\u0001-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f'
        '\u2028-\u202f\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff9-\ufffb\ufffe\uffff\U000110bd\U000110cd'
        '\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000f0000-\U0010ffff]'
    )
$$;

-- Check what tqueue.put receives, as the servers check a put.
CREATE FUNCTION tqueue.check_put(
    queue text, item jsonb, priority float8, "order" text, delay float8, max_deliveries int8, retry_first float8,
    retry_factor float8, retry_most float8, retry_jitter float8, ttl float8, "group" text, "unique" text,
    unique_for float8
) RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    year CONSTANT float8 := 366 * 86400;
    wrong text; size int8; most int8;
BEGIN
    IF queue IS NULL OR queue IN ('', '-', '.', '..') OR length(queue) > 200 OR position('/' IN queue) > 0
        OR tqueue.is_unprintable(queue) THEN
        wrong := format('the name of a queue must be 1 to 200 printable characters without a slash, and not "-", '
            '"." or "..": %L', left(queue, 200));
    ELSIF jsonb_typeof(item) IS DISTINCT FROM 'object' THEN
        wrong := format('a task must be a JSON object, not %s', coalesce(jsonb_typeof(item), 'NULL'));
    ELSIF item ? 'worker' AND item -> 'worker' <> to_jsonb(queue) THEN
        wrong := 'the field "worker" is reserved for the name of the queue; give it another name in the task';
    ELSIF priority = 'NaN' THEN
        wrong := 'priority must be a number';
    ELSIF NOT delay BETWEEN 0 AND 53 * 7 * 86400 THEN
        wrong := format('delay must be 0 to 32054400 seconds, not %s', delay);
    ELSIF length("order") > 1000 OR octet_length("order") > 2000 THEN
        wrong := 'order must be at most 1000 characters and 2000 bytes';
    ELSIF length("group") > 500 OR length("unique") > 500 THEN
        wrong := 'group and unique must be at most 500 characters';
    ELSIF unique_for IS NOT NULL AND "unique" = '' THEN
        wrong := 'unique_for needs unique, a key';
    ELSIF NOT (unique_for > 0 AND (unique_for <= year OR unique_for = 'Infinity')) THEN
        wrong := format('unique_for must be more than 0 and at most %s seconds, or infinity, not %s', year, unique_for);
    ELSIF NOT (ttl > delay AND ttl <= year) THEN
        wrong := format('ttl must be more than delay, %s seconds, and at most %s seconds, not %s', delay, year, ttl);
    ELSIF max_deliveries < 0 THEN
        wrong := format('max_deliveries must be 0 or more, not %s', max_deliveries);
    ELSIF NOT (retry_first BETWEEN 0 AND year AND retry_most BETWEEN 0 AND year) THEN
        wrong := format('retry_first and retry_most must be 0 to %s seconds', year);
    ELSIF NOT retry_factor BETWEEN 1 AND 1000 THEN
        wrong := format('retry_factor must be 1 to 1000, not %s', retry_factor);
    ELSIF NOT retry_jitter BETWEEN 0 AND 1 THEN
        wrong := format('retry_jitter must be 0 to 1, not %s', retry_jitter);
    ELSIF jsonb_path_exists(item, 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")') THEN
        wrong := 'a task must not be nested more than 100 levels deep';
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'tqueue.put: ' || wrong;
    END IF;
    size := octet_length((item - 'worker')::text);
    SELECT m.max_task INTO most FROM tqueue.meta m;
    IF size > most THEN
        RAISE program_limit_exceeded
            USING MESSAGE = format('tqueue.put: a task is at most %s bytes, not %s', most, size);
    END IF;
    IF (SELECT q.config::jsonb ->> 'shutdown' FROM tqueue.queues q WHERE q.name = check_put.queue) <> '' THEN
        RAISE object_not_in_prerequisite_state
            USING MESSAGE = format('tqueue.put: the queue %s is shut down', quote_literal(queue));
    END IF;
END $$;

-- Return a trace as jsonb, as terms contain it (W3C Trace Context); an empty object for an invalid one, which is ignored.
CREATE FUNCTION tqueue.trace_terms(traceparent text, tracestate text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN length(traceparent) <= 512 AND traceparent COLLATE "C" ~
        '^(00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}|(?!ff|00)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]*)?)$'
    THEN jsonb_build_object('traceparent', traceparent) || CASE
        WHEN tracestate <> '' AND length(tracestate) <= 512 AND tracestate COLLATE "C" ~ '^[ -~]*$'
        THEN jsonb_build_object('tracestate', tracestate) ELSE '{}' END
    ELSE '{}' END
$$;

-- Put a task into a queue when this transaction commits. Return its id.
-- docs/queues/transactions.md describes the arguments.
CREATE FUNCTION tqueue.put(
    queue text, item jsonb, priority float8 DEFAULT 0, "order" text DEFAULT '', delay float8 DEFAULT 0,
    max_deliveries int8 DEFAULT NULL, retry_first float8 DEFAULT NULL, retry_factor float8 DEFAULT NULL,
    retry_most float8 DEFAULT NULL, retry_jitter float8 DEFAULT NULL, ttl float8 DEFAULT NULL,
    "group" text DEFAULT '', "unique" text DEFAULT '', unique_for float8 DEFAULT NULL,
    traceparent text DEFAULT '', tracestate text DEFAULT ''
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    task_number int8; terms jsonb; secret text;
BEGIN
    priority := coalesce(priority, 0);
    "order" := coalesce("order", '');
    delay := coalesce(delay, 0);
    "group" := coalesce("group", '');
    "unique" := coalesce("unique", '');
    PERFORM tqueue.check_put(queue, item, priority, "order", delay, max_deliveries, retry_first, retry_factor,
        retry_most, retry_jitter, ttl, "group", "unique", unique_for);
    terms := jsonb_strip_nulls(jsonb_build_object(
        'max_deliveries', max_deliveries, 'retry_first', retry_first, 'retry_factor', retry_factor,
        'retry_most', retry_most, 'retry_jitter', retry_jitter, 'ttl', ttl, 'group', nullif("group", ''),
        'unique', nullif("unique", '')
    ));
    IF traceparent <> '' THEN
        terms := terms || tqueue.trace_terms(traceparent, tracestate);
    END IF;
    task_number := nextval('tqueue.numbers');
    INSERT INTO tqueue.outbox VALUES (
        pg_current_xact_id(), task_number, put.queue, convert_to((item - 'worker')::text, 'UTF8'), put.priority,
        put."order", put.delay, nullif(terms, '{}'), coalesce(put.unique_for, 0), clock_timestamp()
    );
    PERFORM pg_notify('tqueue', '- outbox ' || queue);  -- delivered at the commit
    SELECT m.secret INTO secret FROM tqueue.meta m;
    RETURN to_hex(task_number) || '-'
        || left(encode(sha256(convert_to(secret || queue || '/' || to_hex(task_number), 'UTF8')), 'hex'), 16);
END $$;
REVOKE ALL ON FUNCTION tqueue.put, tqueue.check_put, tqueue.is_unprintable, tqueue.trace_terms FROM PUBLIC;
