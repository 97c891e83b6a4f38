"""
Puts tasks into queues in the transaction of a program that shares its PostgreSQL database with TQueueSrv.

L{put} calls the function C{tqueue.put} in the database. Workers get the task after the commit of the
transaction. After a rollback there is no task. Needs the standard library only, besides the library of the
connection.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any, TypedDict, Unpack

from .client.checks import checked_name
from .client.items import to_task
from .client.terms import PutOptions, put_options

TYPES = {"priority": "float8", "order": "text", "delay": "float8", "max_deliveries": "int8", "ttl": "float8"}
TYPES |= {f"retry_{name}": "float8" for name in ("first", "factor", "most", "jitter")}
TYPES |= {
    "group": "text",
    "unique": "text",
    "unique_for": "float8",
    "traceparent": "text",
    "tracestate": "text",
}


class Order(TypedDict, total=False):
    """
    Keyword arguments of L{put}.

    @ivar priority: the lowest comes first, in a queue of the kind C{priority}.
    @ivar order: text that sorts tasks of the same priority.
    """

    priority: float | None
    order: str | None


class TransactionOptions(PutOptions, Order, total=False):
    """Keyword arguments of L{put}: those of C{Queue.put}, and L{Order}."""


def put(connection: Any, queue: str, item: Any, **options: Unpack[TransactionOptions]) -> str:
    """
    Put an item into a queue when the current transaction commits. Return the id of its task.

    @param connection: where the transaction is: a connection or cursor of psycopg, a connection or session of
        SQLAlchemy, a connection of Django (C{django.db.connection}, C{connections[alias]}), or any other
        connection or cursor of the DB-API whose C{paramstyle} is C{format} or C{pyformat}.
    @param queue: the name of the queue.
    @param item: as for C{Queue.put}.
    @raise TypeError: when the item cannot be sent, or the connection is none of these.
    @raise ValueError: when the name or an option cannot be used. The database checks the other options: its
        errors are those of the library.
    """
    arguments = _arguments(queue, item, options)
    if _is_made_by("sqlalchemy", connection):
        _refuse_async(connection)
        return str(connection.execute(*_for_sqlalchemy(arguments)).scalar_one())
    cursor = _own_cursor(connection)
    _refuse_async(cursor)
    try:
        cursor.execute(*_for_cursor(arguments))
        return str(cursor.fetchone()[0])
    finally:
        if cursor is not connection:
            cursor.close()


async def put_async(connection: Any, queue: str, item: Any, **options: Unpack[TransactionOptions]) -> str:
    """
    Do the same as L{put} on an C{AsyncConnection} or C{AsyncCursor} of psycopg, or an C{AsyncConnection} or
    C{AsyncSession} of SQLAlchemy.
    """
    arguments = _arguments(queue, item, options)
    if _is_made_by("sqlalchemy", connection):
        return str((await connection.execute(*_for_sqlalchemy(arguments))).scalar_one())
    cursor = _own_cursor(connection)
    try:
        await cursor.execute(*_for_cursor(arguments))
        return str((await cursor.fetchone())[0])
    finally:
        if cursor is not connection:
            await cursor.close()


def _arguments(queue: str, item: Any, options: Any) -> list[tuple[str, str, Any]]:
    """Return the name, the type and the value of each argument of the function in the database."""
    order = {name: options.pop(name) for name in Order.__annotations__ if name in options}
    given = {**order, **put_options(options, "put", tuple(Order.__annotations__))}
    return [
        ("queue", "text", checked_name(queue)),
        ("item", "jsonb", to_task(item).decode()),
        *((name, TYPES[name], value) for name, value in given.items() if value is not None),
    ]


def _for_cursor(arguments: list[tuple[str, str, Any]]) -> tuple[str, list[Any]]:
    """Return the statement and its parameters for a cursor."""
    places = ", ".join(f'"{name}" => CAST(%s AS {kind})' for name, kind, _ in arguments)
    return f"SELECT tqueue.put({places})", [value for _, _, value in arguments]


def _for_sqlalchemy(arguments: list[tuple[str, str, Any]]) -> tuple[Any, dict[str, Any]]:
    """Return the statement and its parameters for SQLAlchemy."""
    from sqlalchemy import text

    places = ", ".join(f'"{name}" => CAST(CAST(:{name} AS text) AS {kind})' for name, kind, _ in arguments)
    return text(f"SELECT tqueue.put({places})"), {name: str(value) for name, _, value in arguments}


def _own_cursor(connection: Any) -> Any:
    """Return a cursor whose rows are tuples."""
    if _is_made_by("psycopg", connection):
        from psycopg.rows import tuple_row

        if not hasattr(connection, "cursor"):
            connection = connection.connection  # of the cursor
        return connection.cursor(row_factory=tuple_row)
    if hasattr(connection, "cursor") and not hasattr(connection, "fetchone"):
        return connection.cursor()
    if hasattr(connection, "execute"):
        return connection
    raise TypeError(f"put() needs a connection, cursor or session, not {connection!r}")


def _is_made_by(library: str, value: Any) -> bool:
    """Return whether an object, or a class that it is derived from, belongs to a library."""
    return any(each.__module__.partition(".")[0] == library for each in type(value).__mro__)


def _refuse_async(connection: Any) -> None:
    if iscoroutinefunction(connection.execute):
        raise TypeError("put() needs a synchronous connection; await put_async() for an asynchronous one")
