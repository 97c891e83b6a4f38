"""Tasks for the checks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from django.db import connection
from django.tasks import TaskContext, task

from twisted_appserver import GiveUp, RetryLater

ran: list[Any] = []  # what tasks have noted, in their order


@task
def note(*args: Any, **kwargs: Any) -> None:
    ran.append([*args, *kwargs.items()])


@task
async def note_later(*args: Any) -> list[Any]:
    ran.append([*args])
    return [*args]


@task
def returned(value: Any) -> Any:
    return value


@task
def fails() -> None:
    raise ValueError("no color")


@task
def exits() -> None:
    raise SystemExit("enough")


@task
def returns_an_object() -> Any:
    return object()


@task(takes_context=True)
def fails_until(context: TaskContext, attempt: int) -> list[Any]:
    result = context.task_result
    if context.attempt < attempt:
        raise KeyError(f"attempt {context.attempt}")
    return [context.attempt, len(result.errors), len(result.worker_ids), result.id]


@task
def puts_off(seconds: float) -> None:
    raise RetryLater(seconds, "not now")


@task
def gives_up() -> None:
    raise GiveUp("never")


@task
def begins_without_connection() -> bool:
    """Return whether there was no connection yet, and open one."""
    found = connection.connection is None
    connection.ensure_connection()
    return found


@task
def pid(folder: str) -> int:
    """Kill the process at the first attempt. Return the id of the process at the second one."""
    mark = Path(folder, "begun")
    if not mark.exists():
        mark.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    return os.getpid()


def undecorated() -> None:
    ran.append("undecorated")


@task
def pauses(seconds: float) -> None:
    time.sleep(seconds)


@task
def database_pid() -> int:
    """Return the id of the process of PostgreSQL that the connection belongs to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])
