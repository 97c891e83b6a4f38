"""Disturbances that add work, or keep transactions open. Each function returns at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from tests.tqueue.pressure.stage import MAXSIZE, Stage

OVERLOAD = 1.5  # the offered load, compared with the steady rate
READERS = 4
LONGEST_READ = 4.0  # seconds of a reader's transaction
PAUSE = 0.1  # seconds between the queries of a reader
TABLES = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'tqueue'::regnamespace"
)


def idle(stage: Stage, seconds: float) -> None:
    """Keep two transactions open: one that has a transaction id, and one that has a snapshot only."""
    import psycopg

    url = stage.database.url(stage.name)
    with psycopg.connect(url) as writing, psycopg.connect(url) as reading:
        writing.execute("SELECT txid_current()")
        reading.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reading.execute("SELECT count(*) FROM pg_class")
        stage.pause(seconds)


def sustained(stage: Stage, seconds: float) -> None:
    """Put one and a half times as many tasks as were done before."""

    def overload() -> None:
        stage.load.set_rate(OVERLOAD * stage.steady)
        stage.pause(seconds)

    _pile_up(stage, overload)


def burst(stage: Stage, seconds: float) -> None:
    """Put as many tasks as were done before in this time, in large batches and as fast as possible."""

    def put_at_once() -> None:
        stage.load.set_rate(0)
        stage.load.put_burst(int(seconds * stage.steady))

    _pile_up(stage, put_at_once)


def _pile_up(stage: Stage, put: Callable[[], None]) -> None:
    """Let tasks pile up without a limit. Then put none until the usual number is left."""
    stage.set_maxsize(0)
    put()
    stage.load.set_rate(0)
    stage.end_disturbance()
    stage.drain()
    stage.set_maxsize(MAXSIZE)
    stage.load.set_rate(stage.usual_rate)


def readers(stage: Stage, seconds: float) -> None:
    """Let overlapping transactions count the rows of all tables, and read all columns, again and again."""
    ending = Event()
    length = min(LONGEST_READ, seconds / 2)
    with ThreadPoolExecutor(READERS) as threads:
        running = [
            threads.submit(_read, stage, ending, length, place * length / READERS) for place in range(READERS)
        ]
        try:
            stage.pause(seconds)
        finally:
            ending.set()
        for each in running:
            each.result()


def _read(stage: Stage, ending: Event, length: float, delay: float) -> None:
    """
    Read in one transaction after the other.

    @param length: seconds of each transaction.
    @param delay: seconds before the first one.
    """
    import psycopg

    ending.wait(delay)
    with psycopg.connect(stage.database.url(stage.name), autocommit=True) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        while not ending.is_set():
            with connection.transaction():
                _read_once(connection, ending, time.monotonic() + length)


def _read_once(connection: Any, ending: Event, end: float) -> None:
    tables = [name for (name,) in connection.execute(TABLES).fetchall()]
    while time.monotonic() < end and not ending.is_set():
        for table in tables:
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            connection.execute(f"SELECT sum(length(t::text)) FROM {table} t").fetchone()
            ending.wait(PAUSE)
