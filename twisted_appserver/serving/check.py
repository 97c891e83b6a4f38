"""C{--check}: finds problems that would keep a service from starting or working, without listening."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from twisted_appserver.access.credentials import load_credentials
from twisted_appserver.access.proxies import Proxies
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.start_notes import start_notes
from twisted_appserver.errors import AppserverError, ConfigurationError, require_package
from twisted_appserver.queue.backends import check_store
from twisted_appserver.serving.assembly import why_jobless
from twisted_appserver.serving.banner import describe_application
from twisted_appserver.serving.endpoints import Endpoints
from twisted_appserver.serving.servers.server_start import count_servers
from twisted_appserver.serving.service import AppService
from twisted_appserver.serving.service_executors import EXECUTORS
from twisted_appserver.settings import CLUSTER_SERVER, MEMORY, Settings

Check = Callable[[], object]


class Loaded(NamedTuple):
    """
    An application, as far as it could be loaded.

    @ivar application: C{None} if it does not exist or cannot be imported.
    @ivar router: the entries of its table that can be used.
    @ivar errors: what cannot be used.
    """

    application: Application | None
    router: Router
    errors: list[AppserverError]


def load(find: Callable[[], Application]) -> Loaded:
    """
    Load an application, and collect all errors on the way.

    @param find: returns the place of the application, or raises L{ConfigurationError}.
    """
    errors: list[AppserverError] = []
    try:
        application = find()
        patterns, lifespan = application.load_all()
    except AppserverError as error:
        return Loaded(None, Router(()), [error])
    return Loaded(application, Router(patterns, lifespan, errors), errors)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _check_log(settings: Settings) -> None:
    """
    @raise ConfigurationError: when the access log cannot be written.
    """
    path = settings.access_log or "-"
    folder = os.path.dirname(os.path.abspath(path))
    if path != "-" and not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise ConfigurationError(f"--access-log {path}: cannot be written")


def _check_address(reactor: Any, settings: Settings) -> None:
    """
    @raise ConfigurationError: when the endpoint cannot be used, or is open to other machines.
    """
    Endpoints(reactor, settings).check()


def _cluster_user(settings: Settings, router: Router) -> str:
    """Return what needs a cluster, or an empty text."""
    if settings.server_type == CLUSTER_SERVER:
        return "--type cluster"
    named = [handler.name for handler in router.handlers if handler.executor == "cluster"]
    return f"the executor cluster of {named[0]}" if named else ""


def _option_checks(reactor: Any, settings: Settings, router: Router) -> Iterator[tuple[str, Check]]:
    """Yield a check for each value of each option, and the name of what it checks."""
    for host in settings.allow_host:
        yield "hosts", partial(RequestGuard, (host,))
    for origin in settings.allow_origin:
        yield "origins", partial(RequestGuard, (), (origin,))
    for proxy in settings.proxied:
        yield "proxies", partial(Proxies, (proxy,))
    for each in settings.listen or (None,):
        one = settings if each is None else replace(settings, listen=(each,))
        yield "addresses", partial(_check_address, reactor, one)
    if settings.token_file:
        yield "token and passwords", partial(load_credentials, reactor, replace(settings, auth=()))
    for checker in settings.auth:
        one = replace(settings, auth=(checker,), token_file=None)
        yield "token and passwords", partial(load_credentials, reactor, one)
    if settings.access_log:
        yield "access log", partial(_check_log, settings)
    if settings.servers != 1:
        yield "servers", partial(count_servers, settings)
    if settings.reload:
        yield "packages", partial(require_package, "watchfiles", "--reload", "reload")
    if user := _cluster_user(settings, router):
        yield "packages", partial(require_package, "distributed", user, "cluster")


def _problem(run: Check) -> list[str]:
    """Return the problem that a check finds, or an empty list."""
    try:
        run()
    except AppserverError as error:
        return [str(error)]
    return []


def _name(loaded: Loaded, settings: Settings) -> str:
    """Return the name of an application for the summary, with the number of its routes if it is known."""
    if loaded.application is None:
        return settings.app or "the application"
    return describe_application(loaded.application, len(loaded.router.entries) + loaded.router.left_out)


def check(reactor: Any, settings: Settings, loaded: Loaded) -> tuple[str, bool]:
    """
    Check an application and the options with which it is to be served.

    @return: a line for each problem and note, and a summary; and whether there is no problem.
    """
    application, router, _ = loaded
    problems = [*map(str, loaded.errors), *map(str, router.executor_errors(EXECUTORS))]
    problems += router.problems if application else []
    checked = dict.fromkeys(("patterns", "functions"))
    for what, run in _option_checks(reactor, settings, router):
        problems += _problem(run)
        checked[what] = None
    unchecked: list[str] = []
    if settings.store != MEMORY:
        problems += _problem(lambda: unchecked.append(check_store(settings.store)))
    if unchecked == [""]:  # nothing prevented the check
        unchecked.clear()
        checked["store"] = None
    if application is not None and not problems:  # all parts can be made; can they be put together?
        problems += _problem(lambda: AppService(reactor, settings, application, router))
    found_notes = start_notes(reactor, router, why_jobless(settings)) if application else []
    notes = unchecked + [note for note in found_notes if note not in problems]
    counts = ((problems, "problem"), (notes, "note"))
    found = ", ".join(_count(len(each), noun) for each, noun in counts if each) or "no problems"
    summary = f"{_name(loaded, settings)}: {found}"
    if not problems:
        summary += f"; checked: {', '.join(checked)}"
    return "\n".join([*(f"problem: {each}" for each in problems), *notes, summary]), not problems
