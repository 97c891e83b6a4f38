"""Recognizes connection poolers that give one connection of the database to several clients in turn.

Settings, notifications, prepared statements and temporary functions belong to a connection. With PgBouncer's
C{pool_mode=transaction} or C{statement} they would reach other applications, or get lost. A pooler that keeps
a connection for each client (C{pool_mode=session}) is fine.

Strategy: a pooler sends a process id of its own when a client connects. If that is not the id of the database
process, a second connection begins a transaction. If it gets the process of the first one, or takes it away
from there, the two share it.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Any

from twisted_appserver.errors import ConfigurationError

PROBES = 5  # that all must fail to find a shared process, since other clients may take it meanwhile
PATIENCE = 3.0  # seconds for an answer; a second connection may have to wait for a process of its own
ADVICE = (
    "a connection pooler shares connections between clients (pool_mode=transaction or statement): "
    "give the address of PostgreSQL itself, or use pool_mode=session"
)


def refuse_shared(connection: Any, connect: Callable[[], Any]) -> None:
    """
    @param connection: to be checked; nothing is set on it.
    @param connect: makes another connection like it.
    @raise ConfigurationError: when it is shared with other clients.
    """
    process = _process(connection)
    if process in (None, connection.info.backend_pid):
        return
    other = connect()
    try:
        for _ in range(PROBES):
            others = _process(other, b"BEGIN; ")
            if others is None:  # there is no process left for it: each client has one of its own
                return
            if process in (others, -1) or others == -1 or _process(connection) != process:
                raise ConfigurationError(ADVICE)
            _process(other, b"ROLLBACK; ")
    finally:
        other.close()


def _process(connection: Any, before: bytes = b"") -> int | None:
    """The id of the database process that answers; C{None} if none answers in time, -1 if it is an error."""
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
