"""Clients of TQueueSrv. All but async_queue use the standard library only.

A module may import only modules above it in this list:

  - forks: what happens to a client in a forked process
  - items: any Python object as the fields of a task
  - requests: addresses, keys and retries, without I/O
  - receipts: the tasks that a client holds, and their leases
  - connections: HTTP/1.1 connections (RFC 9112)
  - queue: C{Queue}, C{LifoQueue} and C{PriorityQueue}
  - async_queue: C{AsyncQueue}, with Deferreds
"""

from .queue import (
    Empty,
    Full,
    LeaseLost,
    LifoQueue,
    PriorityQueue,
    Queue,
    ServerError,
    ShutDown,
    Task,
)

__all__ = [
    "Empty",
    "Full",
    "LeaseLost",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ServerError",
    "ShutDown",
    "Task",
]
