-- Only the keys that clients generate share a lane. Deletions of queues are recorded, because any role can send
-- a notification.

ALTER TABLE tqueue.meta ADD COLUMN alive timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN secret text NOT NULL
    DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
ALTER TABLE tqueue.keys ADD COLUMN digest bytea NOT NULL DEFAULT '';
CREATE TEMPORARY TABLE tqueue_keys ON COMMIT DROP AS SELECT * FROM tqueue.keys;
TRUNCATE tqueue.keys;
INSERT INTO tqueue.keys SELECT queue, key, key, number, until, digest FROM tqueue_keys;
CREATE TABLE tqueue.gone (
    number int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
