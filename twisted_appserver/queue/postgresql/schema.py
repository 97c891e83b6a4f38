"""The tables of L{postgresql}: made, brought to this version, and kept tidy."""

from __future__ import annotations

from typing import Any

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.model import GRACE

VERSION = 3
LOCK = 7_483_512  # of the schema, among advisory locks
QUEUE_LOCK = 7_483_513  # the class of those of queues
GRACE_LOCK = 7_483_514  # of the one server that prolongs leases
MARK = 1.0  # seconds between two marks that a server is there
GAP = 2.0  # seconds without a mark after which no lease ends before all were prolonged
READY, DELAYED, LEASED, BURIED = range(4)  # the state of a task
REASONS = {  # U{https://www.postgresql.org/docs/current/errcodes-appendix.html}
    "53100": "the disk of the database is full",
    "53": "the database is out of resources",
    "25006": "the database is read-only",
    "42501": "the role of this server lacks a privilege in the database",
    "57": "the database does not finish it in time, or is stopping",
}
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
    # Only keys that clients make share a lane. Deletions are noted, since anybody can notify.
    """
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
    """,
)
# A queue counts if it has a task, or an option of its own.
COUNTS = "(q.config <> %s OR EXISTS (SELECT FROM tqueue.tasks x WHERE x.queue = q.id))"


def prepare(connection: Any) -> bytes:
    """
    Make the tables, or bring them to this version; one server does it, others wait.

    @param connection: one that commits each statement.
    @return: the secret with which ids are signed.
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
        secret: str = connection.execute("SELECT secret FROM tqueue.meta").fetchone()[0]
    return secret.encode()


def mark(connection: Any) -> None:
    """
    Note that a server is there, which leases can be renewed at. When none was there for a while, prolong all
    leases by that time first; meanwhile none ends, see L{statements}.

    @param connection: one that commits each statement.
    """
    update = (
        "UPDATE tqueue.meta SET alive = clock_timestamp() WHERE alive BETWEEN "
        "clock_timestamp() - make_interval(secs => %s) AND clock_timestamp() - make_interval(secs => %s)"
    )
    if connection.execute(update, (GAP, 0.7 * MARK)).rowcount:
        return
    ask = "SELECT alive, extract(epoch FROM clock_timestamp() - alive)::float8 FROM tqueue.meta"
    alive, gap = connection.execute(ask).fetchone()
    if 0 <= gap < GAP:
        return
    if not connection.execute("SELECT pg_try_advisory_lock(%s)", (GRACE_LOCK,)).fetchone()[0]:
        return  # another server does it
    try:
        if gap >= GAP and connection.execute(ask).fetchone()[0] == alive:
            _prolong(connection, alive, gap)
        connection.execute("UPDATE tqueue.meta SET alive = clock_timestamp()")
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (GRACE_LOCK,))


def _prolong(connection: Any, alive: Any, gap: float) -> None:
    """Let the leases that had not ended then last so many seconds longer."""
    leased = f"t.state IN ({DELAYED}, {LEASED}) AND t.state = {LEASED} AND t.at > %s"
    some = f"EXISTS (SELECT FROM tqueue.tasks t WHERE t.queue = q.id AND {leased})"
    queues = f"SELECT id FROM tqueue.queues q WHERE {some}"
    for (queue,) in connection.execute(queues, (alive,)).fetchall():
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (QUEUE_LOCK, queue))
            connection.execute(
                "UPDATE tqueue.tasks t SET at = greatest(t.at + make_interval(secs => %s), "
                f"clock_timestamp() + make_interval(secs => %s)) WHERE t.queue = %s AND {leased}",
                (gap, GRACE, queue, alive),
            )


def reason(error: Any) -> str:
    """Why the database refuses something, without SQL and without what was to be stored."""
    state = getattr(error, "sqlstate", None) or ""
    for beginning, why in REASONS.items():
        if state.startswith(beginning):
            return why
    return (
        f"the database refuses it (SQLSTATE {state})"
        if state
        else "a fault in the store; see the server's log"
    )


def tidy(connection: Any, default: str) -> set[str]:
    """
    Forget keys whose time is over, and queues that have nothing but the usual options.

    @param connection: one that commits each statement.
    @param default: these options, as they are stored.
    @return: the names of the queues that are left.
    """
    connection.execute("DELETE FROM tqueue.keys WHERE until < now()")
    connection.execute("DELETE FROM tqueue.gone WHERE at < now() - interval '10 minutes'")
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
