"""Disturbances that break servers, their connections, or the database. Each function returns at its end."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from typing import Any

from tests.tqueue.pressure.stage import CONNECTIONS, ROLE, Stage

TERMINATE_EVERY = 0.5  # seconds
KILL_EVERY = 3.0  # seconds
CRASH_EVERY = 10.0  # seconds
AWAY = 1.0  # seconds for which a killed server or database is away


def restart(stage: Stage, seconds: float) -> None:
    """Stop the database, and start it again at the end."""
    stage.database.stop("fast")
    stage.pause(seconds)
    stage.database.start()


def backend_kill(stage: Stage, seconds: float) -> None:
    """Terminate all connections of the servers twice a second."""
    end = time.time() + seconds
    while time.time() < end:
        stage.terminate_backends()
        stage.pause(TERMINATE_EVERY)


def pool_exhaustion(stage: Stage, seconds: float) -> None:
    """Terminate the connections of the servers, and let others use all that the database allows."""
    import psycopg

    end = time.time() + seconds
    with ExitStack() as stack:

        def take_all() -> None:
            for _ in range(CONNECTIONS):
                try:
                    stack.enter_context(psycopg.connect(stage.database.url(role=ROLE)))
                except psycopg.OperationalError:  # too many connections
                    return

        take_all()
        while time.time() < end:
            stage.terminate_backends()
            take_all()
            stage.pause(0.1)


def crash(stage: Stage, seconds: float) -> None:
    """Kill all processes of the database, and let it recover; again and again if there is time."""
    end = time.time() + seconds
    while True:
        stage.database.crash()
        stage.pause(AWAY)
        stage.database.start()
        if time.time() + CRASH_EVERY > end:
            return
        stage.pause(CRASH_EVERY)


def repeated_kills(stage: Stage, seconds: float) -> None:
    """Kill the first server, the connections, the second server, the connections, and so on."""

    def kill(server: Any) -> None:
        server.kill()
        stage.pause(AWAY)
        server.start()

    end, pause = time.time() + seconds, min(KILL_EVERY, seconds / 4)
    for number in itertools.count():
        if number % 2:
            stage.terminate_backends()
        else:
            kill(stage.servers[number // 2 % len(stage.servers)])
        if time.time() + pause > end:
            return
        stage.pause(pause)
