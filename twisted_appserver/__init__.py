"""
A simple application server: list Python functions next to regular expressions, and get a JSON service.

Folders are layers. A folder or module may import only what is above it in this list; each folder's docstring
lists its modules in the same way:

  - errors: all exceptions
  - closest_name: the known name that is most similar to a misspelt one
  - command_line: what all commands share
  - option_values: the types of options as keyword arguments
  - settings: the table of options
  - available_cores: how many cores this process may use
  - core: calls and functions, without Twisted
  - executors: where calls run
  - access: who may send a request
  - dispatch: the one path that every call takes
  - queue: the queue engine, without HTTP
  - jobs: background calls
  - http: connections, site and resource
  - admin: pages, probes, metrics and OpenAPI
  - serving: a server as a program
  - tqueue: TQueueSrv, an application of all the above
  - client: calls services over treq, for other programs
  - example: the application that is served by default
  - testing: calls a table of functions in memory
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from twisted_appserver.core.call import Call, Reply, current_call
    from twisted_appserver.core.events import Event
    from twisted_appserver.core.retry import Retry
    from twisted_appserver.core.router import Router
    from twisted_appserver.core.routes import Route, include
    from twisted_appserver.core.upload import Upload
    from twisted_appserver.errors import (
        AppserverError,
        ClientDisconnected,
        ConfigurationError,
        GiveUp,
        HTTPError,
        JobError,
        PatternError,
        RetryLater,
    )
    from twisted_appserver.executors.inline import InlineExecutor
    from twisted_appserver.executors.interface import IExecutor
    from twisted_appserver.executors.processes.executor import ProcessExecutor
    from twisted_appserver.executors.threads import ThreadExecutor
    from twisted_appserver.http.app_resource import AppResource
    from twisted_appserver.serving.run import run_server
    from twisted_appserver.serving.service import make_service
    from twisted_appserver.settings import CLUSTER_SERVER, FORKED_SERVER, THREADED_SERVER

__all__ = [
    "CLUSTER_SERVER",
    "FORKED_SERVER",
    "THREADED_SERVER",
    "AppResource",
    "AppserverError",
    "Call",
    "ClientDisconnected",
    "ConfigurationError",
    "Event",
    "GiveUp",
    "HTTPError",
    "IExecutor",
    "InlineExecutor",
    "JobError",
    "PatternError",
    "ProcessExecutor",
    "Reply",
    "Retry",
    "RetryLater",
    "Route",
    "Router",
    "ThreadExecutor",
    "Upload",
    "current_call",
    "include",
    "make_service",
    "run_server",
]

# Each module is imported when one of its names is first used (PEP 562), because not every program needs all
# of them. A worker process needs no HTTP, and the faster it starts, the faster a dead worker is replaced.
_MODULES = {
    "core.call": "Call Reply current_call",
    "errors": "AppserverError ClientDisconnected ConfigurationError GiveUp HTTPError JobError PatternError "
    "RetryLater",
    "core.events": "Event",
    "executors.inline": "InlineExecutor",
    "executors.interface": "IExecutor",
    "executors.processes.executor": "ProcessExecutor",
    "executors.threads": "ThreadExecutor",
    "settings": "CLUSTER_SERVER FORKED_SERVER THREADED_SERVER",
    "core.retry": "Retry",
    "core.routes": "Route include",
    "core.upload": "Upload",
    "http.app_resource": "AppResource",
    "core.router": "Router",
    "serving.run": "run_server",
    "serving.service": "make_service",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def _load(name: str) -> Any:
    """Return a public name, or the version of the installed package."""
    if name == "__version__":
        return import_module(f"{__name__}.command_line").own_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


if not TYPE_CHECKING:  # type checkers would accept every name
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
