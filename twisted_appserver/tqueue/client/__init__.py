"""Clients of TQueueSrv. All modules but async_queue use the standard library only.

The folder also works as a package of another name, copied into any program.

A module may import only modules above it in this list:

  - errors: the exceptions
  - forks: tells clients that they are in a forked process
  - items: converts any Python object to the fields of a task, and back
  - addresses: the URL and credentials of a server
  - request_keys: the idempotency keys of requests
  - failures: why a task has failed
  - requests: builds each request and interprets its response, without I/O
  - attempts: when a request is sent, repeated or given up, without I/O
  - leases: the tasks that a client has leased
  - session: the operations of a client, step by step, without I/O
  - batches: the operations of a client on many tasks, without I/O
  - connections: HTTP/1.1 connections (RFC 9112)
  - verbs: the methods that both clients have in common
  - batch_verbs: the methods for many tasks
  - task_block: a task for the duration of a block
  - queue: C{Queue}, C{LifoQueue} and C{PriorityQueue}
  - async_queue: C{AsyncQueue}, with Deferreds
"""

from .queue import *  # noqa: F403
from .queue import __all__ as __all__
