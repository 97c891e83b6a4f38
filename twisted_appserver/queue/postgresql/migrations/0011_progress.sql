-- How far leased tasks have come. A row counts while its task is leased in this delivery; later ones are deleted by and by.
-- Losing these rows does no harm, so they are not written to the log of the database.

CREATE UNLOGGED TABLE tqueue.progress (
    queue int NOT NULL,
    number int8 NOT NULL,
    delivery int NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (queue, number)
);
