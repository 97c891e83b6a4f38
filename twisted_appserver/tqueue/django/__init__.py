"""
A backend for C{django.tasks} (Django 6 or later), and its worker, C{manage.py tqueue_work}.

C{TASKS} names L{backend.Backend} as C{twisted_appserver.tqueue.django.Backend}. The package is also an
application for C{INSTALLED_APPS}, which adds the command.

A module may import only modules above it in this list:

  - version: the version of Django
  - apps: the application
  - options: reads and checks C{OPTIONS} and C{QUEUES}
  - queues: the queues of a process
  - results: makes a C{TaskResult} from what a server knows of a task
  - backend: C{Backend}
  - performing: performs a task in a worker
  - management: the command
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import require_django

if TYPE_CHECKING:
    from .backend import Backend
    from .performing import perform

__all__ = ["Backend", "perform"]
_HOMES = {"Backend": "backend", "perform": "performing"}


def __getattr__(name: str) -> Any:
    """Import a module when it is first used (PEP 562): Django imports this package before it is set up."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_django()
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
