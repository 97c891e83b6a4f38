"""Checks whether a server could use a database, for C{--check}. Nothing in the database is changed."""

from __future__ import annotations

from threading import Timer
from typing import Any

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.postgresql import schema
from twisted_appserver.queue.postgresql.connection import PARAMETERS, import_psycopg, one_line
from twisted_appserver.queue.postgresql.connection_watchdog import ConnectionWatchdog
from twisted_appserver.queue.postgresql.poolers import refuse_shared

LIMIT = 5.0  # seconds for all answers after the connection is open; PARAMETERS limits the time until then


def check_database(url: str) -> None:
    """
    Connect to a database and check it, within a few seconds.

    @param url: as libpq accepts it.
    @raise ConfigurationError: when the database cannot be reached or used.
    """
    psycopg = import_psycopg()
    try:
        given = psycopg.conninfo.conninfo_to_dict(url)
        parameters = {name: value for name, value in PARAMETERS.items() if name not in given}

        def connect() -> Any:
            return psycopg.connect(url, autocommit=True, **parameters)

        with connect() as connection:
            _check(connection, connect)
    except (psycopg.Error, ConfigurationError) as error:
        raise ConfigurationError(f"the database cannot be used: {one_line(error)}") from error


def _check(connection: Any, connect: Any) -> None:
    watchdog = ConnectionWatchdog()
    watchdog.watch(connection.fileno())
    watchdog.expect_within(LIMIT)
    timer = Timer(LIMIT + 0.1, watchdog.abort_if_late)
    timer.start()
    try:
        refuse_shared(connection, connect)
        version = schema.found_version(connection)
        for problem in ("unwritable",) if version else ("unwritable", "unprepared"):
            (text,) = connection.execute(schema.SQL[problem]).fetchone()
            if text:
                raise ConfigurationError(text)
    finally:
        timer.cancel()
        watchdog.stop()
