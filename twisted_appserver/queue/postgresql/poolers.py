"""Refuses connection poolers that share one connection to the database between clients.

Settings, notifications, prepared statements and temporary functions belong to a connection. With
PgBouncer's C{pool_mode=transaction} or C{statement}, they would affect other applications or get lost. A
pooler that keeps a connection for each client (C{pool_mode=session}) works.

Strategy: when a client connects, a pooler sends a process id of its own. If that is not the id of the
database process, a second connection begins a transaction. The pooler shares connections if the same process
serves both connections, or if another process serves the first connection from then on.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Any

from twisted_appserver.errors import ConfigurationError

ATTEMPTS = 5  # to find a shared process, which other clients may use at the moment
PATIENCE = 3.0  # seconds to wait for an answer; the pooler may have no process left for a second connection
ADVICE = (
    "a connection pooler shares connections between clients (pool_mode=transaction or statement): "
    "use the address of PostgreSQL itself, or pool_mode=session"
)


def refuse_shared(connection: Any, connect: Callable[[], Any]) -> None:
    """
    Check that a connection is not shared with other clients.

    @param connection: the connection; nothing is changed on it.
    @param connect: opens another connection to the same database.
    @raise ConfigurationError: when it is shared.
    """
    process = _process(connection)
    if process in (None, connection.info.backend_pid):
        return
    other = connect()
    try:
        for _ in range(ATTEMPTS):
            others = _process(other, b"BEGIN; ")
            if others is None:  # no process is free: clients share none
                return
            if process in (others, -1) or others == -1 or _process(connection) != process:
                raise ConfigurationError(ADVICE)
            _process(other, b"ROLLBACK; ")
    finally:
        other.close()


def _process(connection: Any, before: bytes = b"") -> int | None:
    """Return the id of the database process that answers; C{None} if none does in time, -1 after an error."""
    pgconn, process = connection.pgconn, -1
    pgconn.send_query(before + b"SELECT pg_backend_pid()")
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        if not selector.select(PATIENCE):
            return None
    while (result := pgconn.get_result()) is not None:
        if result.ntuples:
            process = int(result.get_value(0, 0))
    return process
