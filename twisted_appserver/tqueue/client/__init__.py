"""Clients of TQueueSrv. All modules except async_queue use the standard library only.

The folder also works as a package of another name, copied into any program.

A module may import only modules above it in this list:

  - errors: the exceptions
  - explanations: why a server cannot be used, and what to do
  - forks: lets clients detect that they are in a forked process
  - items: converts any Python object to the fields of a task, and back
  - addresses: the URL and credentials of a server
  - checks: the names of queues and the lengths of leases
  - request_keys: the idempotency keys of requests
  - failures: why a task has failed
  - trace: the trace that a task belongs to
  - terms: what applies to one task instead of the options of its queue
  - requests: builds each request and interprets its response, without I/O
  - attempts: when a request is sent, repeated or given up, without I/O
  - reported_progress: what a client reports about a leased task
  - leases: the tasks that a client has leased
  - session: the operations of a client, step by step, without I/O
  - puts: puts one task, without I/O
  - results: waits for the result of a task, without I/O
  - batches: the operations of a client on many tasks, without I/O
  - connections: HTTP/1.1 connections (RFC 9112)
  - verbs: the methods that both clients have in common
  - batch_verbs: the methods for many tasks
  - task_block: a task for the duration of a block
  - async_tasks: the parts of C{AsyncQueue} that do not need Twisted
  - queue: C{Queue}, C{LifoQueue} and C{PriorityQueue}
  - async_queue: C{AsyncQueue}, with Deferreds
"""

from .queue import *  # noqa: F403
from .queue import __all__ as __all__
from .trace import current_trace as current_trace
