"""What every broker promises, and the words and errors with which it says no."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from twisted_appserver.errors import AppserverError
from twisted_appserver.queue.model import Config, Task

EMPTY, FULL, SHUTDOWN, STOPPING = "empty", "full", "shutdown", "stopping"  # why a request cannot succeed


class StoreError(AppserverError):
    """Raised when a change could not be stored. No part of it was. The message is fit for clients."""


class LimitError(AppserverError):
    """Raised when there are as many queues as there may be."""


class AwayError(AppserverError):
    """Raised when the database did not come back in the time that a request had."""


class ReusedError(AppserverError):
    """Raised when a key was used before, for another request."""


class IBroker(Interface):
    """
    The queues of a service, and those who wait at them.

    Whatever waits is given up when it is cancelled, before it has an effect. Each method returns what it was
    asked for, or the word that says why not; all may raise L{StoreError} when a change
    could not be stored, L{LimitError}, and L{AwayError}. The text of each is fit for clients: it contains
    neither SQL nor what was stored.
    """

    started: bool = Attribute("Whether it can be asked.")
    secret: bytes = Attribute("With this the ids of tasks are signed; it is kept in the store.")

    def start() -> None:
        """
        Open the store.

        @raise ConfigurationError: when it cannot be used.
        """

    def stop_waiting() -> None:
        """Let nobody wait any more: waiters are told that the server is stopping."""

    def stop() -> Deferred[None]:
        """
        @return: fires when the store is closed, and no timer is left.
        """

    def unready() -> str:
        """Why nothing can be put, as far as is known; empty if it can."""

    async def check() -> None:
        """Find out what L{unready} returns, unless it was found out a moment ago; takes seconds at most."""

    async def put(name: str, task: Task, key: str, timeout: float, delay: float) -> Task | str:
        """
        @param timeout: seconds to wait for room.
        @param key: a put with the same key, within the time that the queue remembers it, adds nothing.
        @param delay: seconds until the task may be got.
        @return: the task; one with an empty body if it was put before, with the same key.
        @raise ReusedError: when the key was used for another body.
        """

    async def get(name: str, seconds: float | None, key: str, timeout: float) -> Task | str:
        """
        @param seconds: of the lease; the queue's own if C{None}.
        @param key: a get with the same key, while the task that the first one got is leased to it, gets the
            same task: its answer was lost.
        @param timeout: seconds to wait for a task.
        """

    async def done(name: str, number: int, delivery: int) -> Task | None:
        """A task is done with. C{delivery}: that which is meant, 0 for any; so also below."""

    async def extend(name: str, number: int, seconds: float | None, delivery: int) -> Task | None:
        """Have a lease run out so many seconds from now."""

    async def renew(name: str, tasks: list[tuple[int, int]], seconds: float | None) -> list[bool]:
        """
        Have many leases run out so many seconds from now.

        @param tasks: numbers and deliveries.
        @return: for each, whether it is leased.
        """

    async def release(name: str, number: int, delay: float, delivery: int) -> Task | None:
        """Give a leased task back."""

    async def bury(name: str, number: int, delivery: int) -> Task | None:
        """Put a leased task aside."""

    async def kick(name: str, count: int, key: str) -> int:
        """Bring buried tasks back to life. Returns how many. C{key}: as of C{put}."""

    async def join(name: str, timeout: float) -> tuple[int, int]:
        """
        Wait until every task is done or buried: what is buried is not handed out before it is kicked.

        @return: how many are left to be done, and how many are buried.
        """

    async def purge(name: str, key: str) -> int:
        """
        Throw away what waits; what is leased or buried stays. Returns how many tasks are gone. C{key}: as of
        C{put}.
        """

    async def delete(name: str) -> None:
        """Forget a queue with all its tasks."""

    async def config(name: str) -> Config:
        """The options of a queue."""

    async def change(name: str, changes: dict[str, Any]) -> Config:
        """
        Set some options of a queue.

        @raise ValueError: when there is no such option, or its value is wrong.
        """

    async def peek(name: str, count: int, state: str) -> list[Task]:
        """
        The first tasks that are C{ready}, C{delayed}, C{leased} or C{buried}. Their times are in seconds
        since the epoch.
        """

    async def stats(name: str) -> dict[str, int]:
        """How many tasks are where in a queue, what became of others, and who waits."""

    async def qsizes(name: str | None) -> dict[str, int]:
        """How many tasks are ready in a queue, or in each that there is."""

    def snapshot() -> dict[str, dict[str, int]]:
        """The L{stats} of all queues, perhaps some seconds old."""
