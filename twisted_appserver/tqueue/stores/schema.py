"""The tables of L{postgresql}: made, brought to this version, and kept tidy."""

from __future__ import annotations

from typing import Any

from twisted_appserver.errors import ConfigurationError

VERSION = 2
LOCK = 7_483_512  # of the schema, among advisory locks
QUEUE_LOCK = 7_483_513  # the class of those of queues
READY, DELAYED, LEASED, BURIED = range(4)  # the state of a task
STATES = {"ready": READY, "delayed": DELAYED, "leased": LEASED, "buried": BURIED}

# What brings the schema from each version to the next. A task's place in its queue is stored with it (first,
# second, third), so that one index serves every kind of queue. Much is deleted all the time: the tables are
# vacuumed long before the usual share of them is dead.
MIGRATIONS = (
    """
    CREATE SCHEMA IF NOT EXISTS tqueue;
    CREATE TABLE tqueue.meta (version int NOT NULL, prefix text NOT NULL);
    INSERT INTO tqueue.meta VALUES (0, substr(replace(gen_random_uuid()::text, '-', ''), 1, 8) || '-');
    CREATE SEQUENCE tqueue.numbers;
    CREATE TABLE tqueue.queues (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL UNIQUE,
        config text NOT NULL
    );
    CREATE TABLE tqueue.tasks (
        queue int NOT NULL REFERENCES tqueue.queues,
        number int8 NOT NULL,
        body bytea NOT NULL,
        priority float8 NOT NULL,
        "order" text COLLATE "C" NOT NULL,
        state int2 NOT NULL,
        at timestamptz,
        deliveries int NOT NULL DEFAULT 0,
        holder text COLLATE "C" NOT NULL DEFAULT '',
        first float8 NOT NULL,
        second text COLLATE "C" NOT NULL,
        third int8 NOT NULL,
        PRIMARY KEY (queue, number)
    ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
            autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2);
    CREATE INDEX tasks_ready ON tqueue.tasks (queue, first, second, third) WHERE state = 0;
    CREATE INDEX tasks_timed ON tqueue.tasks (queue, at) WHERE state IN (1, 2);
    CREATE INDEX tasks_held ON tqueue.tasks (queue, holder) WHERE state = 2 AND holder <> '';
    CREATE INDEX tasks_buried ON tqueue.tasks (queue, number) WHERE state = 3;
    CREATE TABLE tqueue.keys (
        queue int NOT NULL REFERENCES tqueue.queues,
        lane text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        number int8 NOT NULL,
        until timestamptz NOT NULL,
        PRIMARY KEY (queue, lane)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
    CREATE TABLE tqueue.commits (
        server text COLLATE "C" NOT NULL,
        number int8 NOT NULL,
        at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (server, number)
    ) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
    """,
    # What writes tasks and keys has the lock of their queue and has seen that it is there; to have the
    # database look once more, row by row, made puts a quarter slower.
    """
    ALTER TABLE tqueue.tasks DROP CONSTRAINT tasks_queue_fkey;
    ALTER TABLE tqueue.keys DROP CONSTRAINT keys_queue_fkey;
    DROP INDEX tqueue.tasks_held;
    CREATE INDEX tasks_held ON tqueue.tasks (queue, holder) WHERE holder <> '';
    """,
)


def prepare(connection: Any) -> str:
    """
    Make the tables, or bring them to this version; one server does it, others wait.

    @param connection: one that commits each statement.
    @return: the prefix of the ids.
    @raise ConfigurationError: when they are of a later version, or the database is not one of UTF-8.
    """
    with connection.transaction():
        encoding = connection.execute("SHOW server_encoding").fetchone()[0]
        if encoding != "UTF8":
            raise ConfigurationError(f"the database has the encoding {encoding}, not UTF8")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        there = connection.execute("SELECT to_regclass('tqueue.meta') IS NOT NULL").fetchone()[0]
        row = connection.execute("SELECT version FROM tqueue.meta").fetchone() if there else (0,)
        if row is None:
            raise ConfigurationError("the table tqueue.meta is empty: was the database restored in part?")
        version = row[0]
        if version > VERSION:
            raise ConfigurationError(
                f"the database is of version {version}, which this program does not know"
            )
        for migration in MIGRATIONS[version:]:
            connection.execute(migration)
        if version < VERSION:
            connection.execute("UPDATE tqueue.meta SET version = %s", (VERSION,))
        prefix: str = connection.execute("SELECT prefix FROM tqueue.meta").fetchone()[0]
    return prefix


def tidy(connection: Any, default: str) -> set[str]:
    """
    Forget keys whose time is over, and queues that have nothing but the usual options.

    @param connection: one that commits each statement.
    @param default: these options, as they are stored.
    @return: the names of the queues that are left.
    """
    connection.execute("DELETE FROM tqueue.keys WHERE until < now()")
    connection.execute("DELETE FROM tqueue.commits WHERE at < now() - interval '10 minutes'")
    bare = """
        FROM tqueue.queues q WHERE config = %s
        AND NOT EXISTS (SELECT FROM tqueue.tasks t WHERE t.queue = q.id)
        AND NOT EXISTS (SELECT FROM tqueue.keys k WHERE k.queue = q.id)
    """
    for (queue,) in connection.execute(f"SELECT id {bare}", (default,)).fetchall():
        with connection.transaction():  # nobody is at it, and what they did is seen
            connection.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (QUEUE_LOCK, queue))
            connection.execute(f"DELETE {bare} AND id = %s", (default, queue))
    return {name for (name,) in connection.execute("SELECT name FROM tqueue.queues")}
