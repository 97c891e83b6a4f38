"""Reads and checks C{OPTIONS} and C{QUEUES} of a backend."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db import connections
from django.tasks.exceptions import InvalidTaskBackend

from twisted_appserver.closest_name import closest
from twisted_appserver.core.retry import Retry

from ..client.addresses import read_address
from ..client.checks import checked_name

KEEP = 86400.0  # seconds for which results are kept
PATIENCE = 10.0  # seconds; a request of a browser should not wait for longer
# Ids of results have less than 64 characters: an id of a task of up to 26 (nine hexadecimal digits, a hyphen
# and a signature of 16), the character @, and the name of the queue.
LONGEST_NAME = 36


class BackendOptions(NamedTuple):
    """
    C{OPTIONS} of a backend.

    @ivar url: the URL of the server.
    @ivar token: its token; C{None} for the environment variable C{TQUEUE_TOKEN}.
    @ivar database: the alias of the database in whose transactions tasks are enqueued; C{None} to enqueue
        over HTTP.
    @ivar keep: seconds for which results are kept; C{None} for the option of the queue, or else a day.
    @ivar retry: how often a task that has failed is tried; C{None} for once.
    @ivar patience: seconds for which a request is repeated while the server cannot be reached.
    """

    url: str
    token: str | None = None
    database: str | None = None
    keep: float | None = None
    retry: Retry | None = None
    patience: float = PATIENCE


def read_backend_options(alias: str, given: Mapping[str, Any]) -> BackendOptions:
    """
    Check C{OPTIONS}.

    @param alias: the name of the backend in C{TASKS}.
    @raise InvalidTaskBackend: when an option is unknown or missing, or cannot be used.
    """
    try:
        options = {"url": os.environ.get("TQUEUE_URL"), **given}
        known = BackendOptions._fields
        for name in options:
            if name not in known:
                near = closest(name, known)
                raise ValueError(f"unknown option {name!r}" + (f"; did you mean {near!r}?" if near else ""))
        if not options["url"]:
            raise ValueError("url is missing: the URL of a TQueueSrv, such as http://localhost:8082")
        read = BackendOptions(**{**options, "retry": _retry(options.get("retry"))})
        read_address(read.url, read.token or "")
        for name in ("keep", "patience"):
            _check_seconds(name, getattr(read, name))
        _check_database(read.database)
    except (TypeError, ValueError) as error:
        raise InvalidTaskBackend(f"OPTIONS of TASKS[{alias!r}]: {error}") from None
    return read


def _retry(given: Any) -> Retry | None:
    """Return the rule for C{None}, a number of attempts, a dict or a L{Retry}."""
    if given is None or isinstance(given, Retry):
        return given
    return Retry(**given) if isinstance(given, Mapping) else Retry(given)


def _check_seconds(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
        raise ValueError(f"{name} must be more than 0 seconds, not {value!r}")


def _check_database(alias: str | None) -> None:
    if alias is None:
        return
    if alias not in connections:
        raise ValueError(f"database must be an alias in DATABASES, not {alias!r}")
    if connections[alias].vendor != "postgresql":
        raise ValueError(
            f"database must be a PostgreSQL database, where TQueueSrv keeps its queues; {alias!r} is "
            f"{connections[alias].vendor}. Without this option, tasks are enqueued over HTTP"
        )


def read_queue_names(alias: str, names: Iterable[str]) -> list[str]:
    """
    Check C{QUEUES}. Return the names in their order, which is the order of their priority.

    @raise InvalidTaskBackend: when a name cannot be used.
    """
    try:
        return [checked_queue(name) for name in names]
    except ValueError as error:
        raise InvalidTaskBackend(f"QUEUES of TASKS[{alias!r}]: {error}") from None


def checked_queue(name: str) -> str:
    """
    Return the name of a queue.

    @raise ValueError: when it cannot be used.
    """
    checked_name(name)
    if len(name) > LONGEST_NAME or re.search("[,:]", name):
        raise ValueError(
            f"the name of a queue must have at most {LONGEST_NAME} characters, without commas and colons, "
            f"not {name!r}"
        )
    return name
