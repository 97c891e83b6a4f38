"""The queues that a process uses, one object for each."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..client.queue import Queue
from .options import KEEP, BackendOptions


@cache
def open_queue(options: BackendOptions, name: str) -> Queue:
    """Return the queue. All threads share the object and its connections."""
    return Queue(0, options.url, name, token=options.token, patience=options.patience)


@cache
def prepared_queue(options: BackendOptions, name: str) -> Queue:
    """
    Return the queue, after it has got the options that the backend needs: priorities, and kept results.

    @raise OSError: when the server cannot be reached. The next call tries again.
    """
    queue = open_queue(options, name)
    found = queue.config()
    wanted: dict[str, Any] = {}
    if found["kind"] != "priority":
        wanted["kind"] = "priority"
    keep = options.keep or found["keep"] or KEEP
    if found["keep"] != keep:
        wanted["keep"] = keep
    if wanted:
        queue.config(**wanted)
    return queue
