-- A temporary function for the rates of queues: see perform_requests.sql.

-- Return when a queue with this rate, such as 10/s, may hand out its next task; NULL if it may now. If the clock was set
-- back, the queue waits for no longer than usual.
CREATE FUNCTION pg_temp.next_delivery(rate text, last_delivery timestamptz, moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    unit float8 := CASE split_part(rate, '/', 2) WHEN 'm' THEN 60 WHEN 'h' THEN 3600 WHEN 'd' THEN 86400 ELSE 1 END;
    due timestamptz := least(last_delivery, moment)
        + make_interval(secs => unit / split_part(rate, '/', 1)::float8);
BEGIN
    IF due > moment THEN
        RETURN due;
    END IF;
    RETURN NULL;
END $$;

