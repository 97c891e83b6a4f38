-- The numbers of tasks that wait again, after a lease, a delay or a grave, in the order in which that happened. By them
-- each server learns of tasks that have become ready in front of those that it has seen. A trigger writes them, so
-- that no statement of any version of the program can forget to.
--
-- This trigger locks no row and calls its function only if the condition holds, so other updates cost nothing more.

CREATE SEQUENCE tqueue.returns;
CREATE TABLE tqueue.returned (
    id int8 NOT NULL DEFAULT nextval('tqueue.returns'),
    queue int NOT NULL,
    number int8 NOT NULL,
    PRIMARY KEY (queue, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
CREATE FUNCTION tqueue.note_return() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tqueue.returned (queue, number) VALUES (NEW.queue, NEW.number);
    RETURN NULL;
END $$;
CREATE TRIGGER note_return AFTER UPDATE OF state ON tqueue.tasks FOR EACH ROW
    WHEN (NEW.state IN (0, 1, 4) AND NEW.state <> OLD.state) EXECUTE FUNCTION tqueue.note_return();
