"""
TQueueSrv, a network task queue: the methods of C{queue.Queue} over HTTP, for workers on several hosts.

A module may import only modules above it in this list:

  - client: C{Queue} and C{AsyncQueue}
  - task_failure: describes a task whose function raised
  - work: calls a function for each task of a queue
  - stop_signals: the signals that end the work
  - target_function: imports and checks the function
  - status_line: a line on a terminal below everything else
  - progress: how far the work has come
  - command: the C{tqueue} command
  - request_options: the options and bodies of requests
  - batch_requests: the requests about many tasks
  - task_documents: the documents that describe tasks
  - wire: the requests, as C{url_patterns}
  - tap: the C{twistd} command
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twisted_appserver.tqueue.wire import url_patterns

__all__ = ["url_patterns"]


def __getattr__(name: str) -> Any:
    """Import the server's side when it is first used (PEP 562): clients need the standard library only."""
    if name != "url_patterns":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from twisted_appserver.tqueue.wire import url_patterns

    globals()[name] = url_patterns
    return url_patterns
