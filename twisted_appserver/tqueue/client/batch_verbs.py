"""The verbs of both clients that handle many tasks at once. Needs the standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol, Unpack

from . import batches
from .requests import Document
from .terms import PutTerms, terms_options
from .verbs import StepRunner

Uniques = Iterable[str | None] | None
OWN = ("timeout", "unique", "unique_for")  # keyword arguments besides the terms


class BatchRunner(StepRunner, Protocol):
    """
    What L{BatchVerbs} needs of a client.

    @ivar _ack: C{"auto"} if tasks are finished when they are got.
    """

    _ack: Literal["manual", "auto"]

    def _sort_key(self, item: Any) -> tuple[float | None, str | None]:
        """Return the priority of an item and the text that sorts it; C{None} for none."""


class BatchVerbs:
    """
    Each method makes one request, which the server performs with one commit. It returns its result from a
    L{queue.Queue}, and a Deferred of it from an L{async_queue.AsyncQueue}.
    """

    def put_many(
        self: BatchRunner,
        items: Iterable[Any],
        timeout: float | None = None,
        *,
        unique: Uniques = None,
        unique_for: float | None = None,
        **terms: Unpack[PutTerms],
    ) -> Any:
        """
        Add up to 1000 items. If this raises, no item was added.

        @param timeout: seconds to wait until there is room for all; C{None} for ever, 0 for not at all.
        @param unique: for each item a unique key, or C{None}, see L{PutOptions}. Items whose keys are taken
            are not added; the result has the ids of the tasks that have the keys.
        @param unique_for: seconds for which these keys stay taken.
        @param terms: the terms of each task, see L{PutTerms}.
        @return: a list of the ids of their tasks, see L{TaskId}.
        @raise Full: when there is not enough room in time.
        @raise ShutDown: when the queue has been shut down.
        @raise TypeError: when an item cannot be sent, see L{items}.
        @raise ValueError: when there are more than 1000 items.
        @raise ServerError: when there are more items than C{maxsize}.
        """
        options = terms_options(terms, "put_many", OWN)
        keys = unique, unique_for
        return self._run(batches.put_many(self._session, items, self._sort_key, timeout, options, keys))

    def put_tasks(
        self: BatchRunner,
        tasks: Iterable[Document],
        timeout: float | None = 0.0,
        *,
        unique: Uniques = None,
        unique_for: float | None = None,
        **terms: Unpack[PutTerms],
    ) -> Any:
        """
        Add up to 1000 tasks by their fields, as other programs see them: all of them or none.

        @param tasks: dicts that JSON can represent.
        @param timeout: seconds to wait until there is room for all; C{None} for ever.
        @param unique: for each task a unique key, or C{None}; C{unique_for} as in L{put_many}.
        @param terms: the terms of each task, see L{PutTerms}.
        @return: a list of their ids, see L{TaskId}.
        @raise Exception: as L{put_many}; ValueError, too, when the fields are not JSON.
        """
        options = terms_options(terms, "put_tasks", OWN)
        keys = unique, unique_for
        return self._run(batches.put_tasks(self._session, tasks, timeout, options, keys))

    def get_tasks(self: BatchRunner, n: int, timeout: float | None = 0.0, lease: float | None = None) -> Any:
        """
        Lease up to C{n} tasks without renewing their leases.

        @param timeout: seconds to wait for the first task; C{None} for ever.
        @param lease: seconds; the option of the queue if C{None}.
        @return: a list of dicts with C{task_id}, C{delivery} and the fields, C{task}.
        @raise Exception: as L{get_many}, but no ItemError.
        """
        return self._run(batches.get_tasks(self._session, n, timeout, lease))

    def get_many(self: BatchRunner, n: int, timeout: float | None = None) -> Any:
        """
        Remove up to C{n} items: all that are ready. If no item is ready, wait for the first one.

        Finish them with C{task_done_many()}, or one by one with C{task_done(item)}.

        @param timeout: seconds to wait for the first item; C{None} for ever, 0 for not at all.
        @return: a list of 1 to C{n} items.
        @raise Empty: when there is no item in time.
        @raise ShutDown: when the queue has been shut down and is empty.
        @raise ItemError: when other programs have put tasks that are not items, see L{items}, and there are
            no items. Such tasks are released.
        @raise ValueError: when C{n} is not 1 to 1000.
        """
        steps = batches.get_many(self._session, n, timeout, self._owner(), self._ack == "auto")
        return self._finish(steps)

    def task_done_many(
        self: BatchRunner, items: Iterable[Any] | None = None, *, results: Iterable[Any] | None = None
    ) -> Any:
        """
        Finish the tasks with these items; if C{None}, all tasks that this thread, or this AsyncQueue, has got
        and not finished.

        @param results: their results, in the same order.
        @raise ValueError: when there is no such task, or there are not as many results as items.
        @raise LeaseLost: when some of the leases had run out. The other tasks are finished.
        @raise OSError: when the server cannot be reached. The tasks are then finished in the background as
            soon as possible.
        """
        return self._finish(batches.done_many(self._session, items, results, self._owner()))
