"""Creates the tables, migrates them to the current version, and deletes expired rows."""

from __future__ import annotations

from typing import Any

import msgspec

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.config import DEFAULT
from twisted_appserver.queue.sql_files import read_migrations, read_statements

SQL = read_statements(__package__, "schema.sql")
MIGRATIONS = read_migrations(__package__)
VERSION = len(MIGRATIONS)
SCHEMA_LOCK = 7_483_512  # the advisory lock of the server that migrates the tables
QUEUE_LOCK = 7_483_513  # the class of the advisory locks of queues
READY, DELAYED, LEASED, BURIED, HELD = range(5)  # the state of a task
STATES = {"ready": READY, "delayed": DELAYED, "leased": LEASED, "held": HELD, "buried": BURIED}
DEFAULT_OPTIONS = msgspec.json.encode(DEFAULT).decode()  # as they are stored
REASONS = {  # by the beginning of SQLSTATE: U{https://www.postgresql.org/docs/current/errcodes-appendix.html}
    "53100": "the disk of the database is full",
    "53": "the database is out of resources",
    "25006": "the database is read-only",
    "42501": "the role of this server lacks a privilege in the database",
    "57": "the database did not finish in time, or is stopping",
}


EXPIRED = (
    "delete_expired_keys",
    "delete_expired_taken",
    "delete_old_deletions",
    "delete_old_commits",
    "delete_old_returns",
    "delete_old_progress",
)


def found_version(connection: Any) -> int:
    """
    Return the version of the tables in a database; 0 if there are none.

    @raise ConfigurationError: when the tables have a later version, or the database does not use UTF-8.
    """
    encoding = _value(connection, "encoding")
    if encoding != "UTF8":
        raise ConfigurationError(f"the encoding of the database must be UTF8, not {encoding}")
    version: int | None = _value(connection, "version") if _value(connection, "has_tables") else 0
    if version is None:
        raise ConfigurationError("the table tqueue.meta is empty: was the database restored in part?")
    if version > VERSION:
        raise ConfigurationError(
            f"the tables have version {version}; this program supports versions up to {VERSION}"
        )
    return version


def _value(connection: Any, statement: str) -> Any:
    row = connection.execute(SQL[statement]).fetchone()
    return None if row is None else row[0]


def prepare(connection: Any) -> bytes:
    """
    Create the tables, or migrate them to the current version. Other servers wait meanwhile.

    @param connection: a connection that commits each statement.
    @return: the secret that signs the ids of tasks.
    @raise ConfigurationError: as L{found_version}.
    """
    with connection.transaction():
        connection.execute(SQL["lock_schema"], {"lock": SCHEMA_LOCK})
        version = found_version(connection)
        for migration in MIGRATIONS[version:]:
            connection.execute(migration)
        if version < VERSION:
            connection.execute(SQL["set_version"], {"version": VERSION})
        connection.execute(SQL["renew_default_options"], {"default_options": DEFAULT_OPTIONS})
        secret: str = _value(connection, "secret")
    return secret.encode()


def reason(error: Any) -> str:
    """Return why the database refuses something, without SQL and without the data of the request."""
    state = getattr(error, "sqlstate", None) or ""
    if not state:
        return "internal error in the store; see the log of the server"
    for beginning, why in REASONS.items():
        if state.startswith(beginning):
            return why
    return f"the database refused the request (SQLSTATE {state})"


def delete_expired(connection: Any) -> set[str]:
    """
    Delete keys and results that have expired, and queues without tasks, keys and options.

    @param connection: a connection that commits each statement.
    @return: the names of the remaining queues.
    """
    for statement in EXPIRED:
        connection.execute(SQL[statement])
    for queue, keep_count in connection.execute(SQL["queues_with_results"]).fetchall():
        with connection.transaction():
            connection.execute(SQL["lock_queue"], {"lock_class": QUEUE_LOCK, "queue": queue})
            connection.execute(SQL["delete_excess_results"], {"queue": queue, "keep_count": keep_count})
    for (queue,) in connection.execute(SQL["queues_with_lifetimes"]).fetchall():
        with connection.transaction():  # with the lock, it sees the tasks that others have put
            connection.execute(SQL["lock_queue"], {"lock_class": QUEUE_LOCK, "queue": queue})
            connection.execute(SQL["note_lifetimes"], {"queue": queue})
    unused = {"default_options": DEFAULT_OPTIONS}
    for (queue,) in connection.execute(SQL["unused_queues"], unused).fetchall():
        with connection.transaction():  # with the lock, it sees everything that others have committed
            connection.execute(SQL["lock_queue"], {"lock_class": QUEUE_LOCK, "queue": queue})
            connection.execute(SQL["delete_unused_queue"], {**unused, "queue": queue})
    return {name for (name,) in connection.execute(SQL["queue_names"])}
