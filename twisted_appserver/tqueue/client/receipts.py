"""The tasks that a client has got and not finished. Does no I/O; safe from any thread.

Needs the standard library only. A task is leased until it is finished. C{task_done()} finishes the one that
its thread got last. If the server cannot be reached then, the task is finished in the background, and after
the thread's next C{get()} its C{task_done()} means that one.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .requests import ServerError, may_change

log = logging.getLogger(__name__)
SHARE = 1000  # tasks that are renewed in one request


class LeaseLost(Exception):
    """Raised when a task is finished whose lease has run out: another worker may have got it meanwhile."""


class Owner:
    """
    Who gets tasks: a thread, or an AsyncQueue.

    @ivar undone: what its last C{task_done()} could not finish, if it has got nothing since.
    """

    __slots__ = ("undone",)

    def __init__(self) -> None:
        self.undone: Held | None = None


BLOCK = Owner()  # owns the tasks of blocks, which task_done() does not mean


class Held:
    """
    A task that was got.

    @ivar until: when its lease runs out, by the client's clock.
    @ivar gone: whether the server has denied that it is leased.
    @ivar over: whether it is known to be finished, or gone.
    @ivar sent: whether a request to finish it may have reached the server unnoticed.
    @ivar finishing: how many requests to finish it are under way.
    """

    __slots__ = ("delivery", "finishing", "gone", "item", "over", "owner", "sent", "task_id", "until")

    def __init__(self, task_id: str, delivery: int, owner: Owner, until: float) -> None:
        self.task_id, self.delivery, self.owner, self.until = task_id, delivery, owner, until
        self.item: Any = None
        self.gone = self.over = self.sent = False
        self.finishing = 0


class Receipts:
    """
    @param lease: seconds.
    @param clock: returns seconds.
    @ivar undone: those that could not be finished yet, but must be.
    """

    def __init__(self, lease: float, clock: Callable[[], float]) -> None:
        self._lease, self._clock = lease, clock
        self._lock = threading.Lock()
        self._held: dict[Held, None] = {}  # oldest first
        self.undone: dict[Held, None] = {}

    def __len__(self) -> int:
        return len(self._held) + len(self.undone)

    def add(self, held: Held) -> None:
        with self._lock:
            self._held[held] = None
            held.owner.undone = None

    def take(self, item: Any, owner: Owner, verb: str = "task_done") -> Held:
        """
        The task that C{task_done(item)} means, for this owner to finish it.

        @param verb: for the message.

        @raise ValueError: when there is none.
        """
        with self._lock:
            if item is None and owner.undone is not None:
                return owner.undone
            held = self._find(item, owner)
            if held is None:
                raise ValueError(f"{verb}() called too many times")
            self._held.pop(held, None)
            return held

    def find(self, item: Any, owner: Owner) -> Held:
        """
        The task that C{task_done(item)} means.

        @raise ValueError: when there is none.
        """
        with self._lock:
            held = self._find(item, owner)
        if held is None:
            raise ValueError("this thread has no such task")
        return held

    def _find(self, item: Any, owner: Owner) -> Held | None:
        if item is None:
            own = next((held for held in reversed(self._held) if held.owner is owner), None)
            return own or next((held for held in self._held if held.owner is not BLOCK), None)
        meant = [held for held in (*self.undone, *self._held) if held.owner is not BLOCK]
        equal = [held for held in reversed(meant) if held.item is item or held.item == item]
        return next((held for held in equal if held.item is item), equal[0] if equal else None)

    def drop(self, held: Held) -> bool:
        """Renew a task no more. Returns whether it was held."""
        with self._lock:
            return self._held.pop(held, BLOCK) is None

    def drop_all(self) -> list[Held]:
        """Renew none any more; returns those that were."""
        with self._lock:
            held, self._held = self._held, {}
        return list(held)

    def lost(self, held: Held) -> bool:
        """Whether another worker may have got the task."""
        return held.gone or self._clock() >= held.until

    @contextmanager
    def finishing(self, held: Held, owner: Owner, later: bool = True) -> Iterator[None]:
        """
        While a task is finished: if that fails for a reason that may go away, the owner may repeat it.

        @param later: whether it is then to be done in the background too.
        """
        self.undone.pop(held, None)
        try:
            yield
        except BaseException as error:
            final = isinstance(error, LeaseLost) or (
                isinstance(error, ServerError) and not may_change(error.status)
            )
            if later and not final:
                self.undone[held] = None
            owner.undone = None if final or owner is BLOCK else held
            raise
        owner.undone = None

    @contextmanager
    def asking(self, held: Held) -> Iterator[None]:
        """While a request to finish a task is made: two at a time are each other's earlier attempts."""
        held.sent |= held.finishing > 0
        held.finishing += 1
        try:
            yield
        finally:
            held.finishing -= 1

    def settle(self, held: Held, task_id: str, sent: bool, verb: str) -> None:
        """
        The server has answered a request to finish a task.

        @param task_id: empty if the server has no such task on lease.
        @param sent: whether an earlier attempt may have succeeded, whose answer was lost. It is believed to
            have, if the lease cannot have run out.
        @raise LeaseLost: when the request had no effect.
        """
        if held.over and not held.gone:
            return
        if not task_id and (held.gone or not (sent or held.sent) or self._clock() >= held.until):
            held.gone = held.over = True
            raise LeaseLost(f"the lease of task {held.task_id} had run out before it was {verb}")
        held.over = True

    def due(self) -> list[Held]:
        """Those whose leases should be renewed: a third of the lease is over."""
        late = self._clock() + self._lease * 2 / 3
        with self._lock:
            return [held for held in self._held if held.until <= late and not held.gone]

    def renewed(self, tasks: Iterable[Held], since: float, lost: list[dict[str, Any]]) -> None:
        """
        A request to renew was answered.

        @param since: when it was made.
        @param lost: those that are not leased any more.
        """
        gone = {(each["task_id"], each["delivery"]) for each in lost}
        for held in tasks:
            if (held.task_id, held.delivery) not in gone:
                held.until = since + self._lease
            elif held in self._held:  # otherwise it is lost only if finishing it fails
                held.gone = True
                log.warning("the lease of task %s has run out: another worker may get it", held.task_id)


def shares(tasks: list[Held]) -> Iterator[tuple[list[Held], bytes]]:
    """The tasks to be renewed, in lists for one request each, with the request's body."""
    for start in range(0, len(tasks), SHARE):
        share = tasks[start : start + SHARE]
        named = [{"task_id": held.task_id, "delivery": held.delivery} for held in share]
        yield share, json.dumps({"tasks": named}).encode()
