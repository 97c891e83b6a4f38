"""
TQueueSrv, a network task queue: the methods of C{queue.Queue} over HTTP, for workers on several hosts.

A module may import only modules above it in this list:

  - client: C{Queue} and C{AsyncQueue}
  - transactions: puts tasks in the transaction of a program that uses the same PostgreSQL
  - task_failure: describes a task whose function raised
  - task_progress: the progress of a task, as its function reports it
  - performed_task: the task that a function performs
  - function_call: calls a function with an item
  - target_function: imports and checks the function
  - queue_choice: which of several queues the next task comes from
  - thread_time_limits: the time limit of functions that run in threads
  - stack_dump: where a function was when its process was killed
  - function_server: the program of a process that calls the function
  - function_process: the worker's end of such a process
  - worker_arguments: checks the arguments of a worker
  - worker: C{Worker}, which calls a function for each task
  - stop_signals: the signals that end the work
  - status_line: a line on a terminal below everything else
  - progress: the progress of the work
  - command: the C{tqueue} command
  - django: a backend for the tasks of Django
  - request_options: the options and bodies of requests
  - batch_requests: the requests about many tasks
  - failure_body: the body of a request about a failure
  - queue_list: lists the queues with their figures
  - request_descriptions: which options each request reads
  - wire: the requests, as C{url_patterns}
  - tap: the C{twistd} command
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twisted_appserver.tqueue.performed_task import current_task
    from twisted_appserver.tqueue.task_progress import report_progress
    from twisted_appserver.tqueue.wire import url_patterns
    from twisted_appserver.tqueue.worker import Worker

__all__ = ["Worker", "current_task", "report_progress", "url_patterns"]
_HOMES = {
    "Worker": "worker",
    "current_task": "performed_task",
    "report_progress": "task_progress",
    "url_patterns": "wire",
}


def _load(name: str) -> Any:
    """Import a module when it is first used (PEP 562): clients need the standard library only."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


if not TYPE_CHECKING:  # type checkers would accept every name
    __getattr__ = _load
