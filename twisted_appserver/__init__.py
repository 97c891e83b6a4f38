"""A simple application server: functions listed beside regular expressions, a JSON network service.

The modules:
  - L{core.call}: a call and its reply; L{core.perform} performs the one and makes the other, L{core.json_encoding} its JSON.
  - L{core.handler}: a function and how a call's variables become its arguments; L{core.request_data} reads these.
  - L{core.streaming}: answers that come in parts, where they are made; L{core.events}: server-sent events,
    L{dispatch.keep_alive} the comments between them;
    L{core.remedies}: what to do about some failures.
  - L{core.headers}: the headers that a function may give; L{core.statuses}: the titles of HTTP status codes.
  - L{core.routes}: url_patterns as the user writes them; L{core.router} finds the function for a path,
    L{core.pattern_compiler} what in a pattern may take for ever.
  - L{access.request_guard}: who may ask; L{access.credentials} and L{access.passwords}: who someone is.
  - L{executors.child_processes}: processes that functions fork inherit neither our signal handlers nor our connections.
  - L{executors}: where a call is performed: inline, threads, processes, a cluster.
  - L{dispatch.dispatcher}: the narrow waist through which every call goes; L{dispatch.time_limits} keeps its time limits,
    L{dispatch.retry_after} tells how long to wait where there is too much to do.
  - L{http.resource}: the application as a twisted.web resource.
  - L{http.connection}: HTTP/1.1 over llhttp; L{http.site}: its connections; L{http.epoll_reader} reads them all at once, L{http.response_head} has
    the beginnings of answers.
  - L{jobs.registry}: calls whose clients do not wait.
  - L{settings}: the table of options; L{core.application} finds the user's table of patterns.
  - L{serving.endpoints}: where it listens; L{admin}: what a service tells of itself.
  - L{serving.service}: all of it put together; L{serving.process}: its signals; L{serving.process_exit}: its end, and how
    L{serving.daemon}s report their start; L{serving.run} starts it in one call,
    L{serving.tap} under twistd.
  - L{serving.reloader} has code served as soon as it is saved; L{core.route_table} shows a table to whoever writes it.
  - L{serving.access_log}: a line for each request; L{serving.logs}: all that is logged, for a person or a machine.
  - L{testing}: calls functions through the whole stack, in memory.
  - L{client}: calls such a service from Twisted.
  - L{errors}: the exceptions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twisted_appserver.core.call import Call, Reply
    from twisted_appserver.core.events import Event
    from twisted_appserver.core.router import Router
    from twisted_appserver.core.routes import Route, include
    from twisted_appserver.errors import AppserverError, ConfigurationError, HTTPError, PatternError
    from twisted_appserver.executors.inline import InlineExecutor
    from twisted_appserver.executors.interface import IExecutor
    from twisted_appserver.executors.processes.executor import ProcessExecutor
    from twisted_appserver.executors.threads import ThreadExecutor
    from twisted_appserver.http.resource import AppResource
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
    "ConfigurationError",
    "Event",
    "HTTPError",
    "IExecutor",
    "InlineExecutor",
    "PatternError",
    "ProcessExecutor",
    "Reply",
    "Route",
    "Router",
    "ThreadExecutor",
    "include",
    "make_service",
    "run_server",
]

# Whoever imports the package does not always want all of it: a worker process needs no HTTP, and a pool of
# workers is as quick to recover as one of them is to start. A name's module is imported when it is asked for
# (PEP 562).
_MODULES = {
    "calls": "Call Reply",
    "errors": "AppserverError ConfigurationError HTTPError PatternError",
    "events": "Event",
    "executors.inline": "InlineExecutor",
    "executors.interface": "IExecutor",
    "executors.processes": "ProcessExecutor",
    "executors.threads": "ThreadExecutor",
    "options": "CLUSTER_SERVER FORKED_SERVER THREADED_SERVER",
    "patterns": "Route include",
    "resource": "AppResource",
    "routing": "Router",
    "run": "run_server",
    "service": "make_service",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
