"""One task of a queue."""

from __future__ import annotations

import msgspec

from twisted_appserver.queue.terms import Terms


class QueuedTask(msgspec.Struct, gc=False, order=True):
    """
    One item of a queue. Tasks compare by their numbers.

    @ivar number: counts up over all queues of a store, in order of arrival.
    @ivar body: the fields of the task, a JSON object.
    @ivar priority: in a priority queue, the lowest is handed out first.
    @ivar order: sorts tasks of the same priority.
    @ivar due: when the delay ends; 0.0 for no delay.
    @ivar lease: when the lease ends; 0.0 if the task is not leased.
    @ivar deliveries: how often the task has been handed out.
    @ivar holder: the key of the request that leased it; empty if the request had no key.
    @ivar buried: whether it is put aside until it is kicked.
    @ivar span: the length of the lease, in seconds; 0.0 if the task is not leased.
    @ivar began: when the last lease began; 0.0 if there was none.
    @ivar by: the name of the client that has leased it last, as it was sent.
    @ivar attempts: how many attempts are recorded for it, see L{queue.attempt}.
    @ivar terms: what applies to it instead of the options of its queue; C{None} for nearly all tasks.
    @ivar put_at: when it was put; 0.0 if an older version has stored it.
    """

    number: int
    body: bytes
    priority: float = 0.0
    order: str = ""
    due: float = 0.0
    lease: float = 0.0
    deliveries: int = 0
    holder: str = ""
    buried: bool = False
    span: float = 0.0
    began: float = 0.0
    by: str = ""
    attempts: int = 0
    terms: Terms | None = None
    put_at: float = 0.0
