"""C{run_server}: start a server with one function call."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from twisted_appserver.command_line import INTERRUPTED
from twisted_appserver.core.application import Application, refuse_while_loading
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError
from twisted_appserver.serving.command_options import TableOptions
from twisted_appserver.serving.endpoints import explain_start_error
from twisted_appserver.serving.environment import ignored_variables
from twisted_appserver.serving.file_watcher import prepare_to_watch
from twisted_appserver.serving.logs import make_observer
from twisted_appserver.serving.reactor_choice import asyncio_by_default, choose_reactor
from twisted_appserver.serving.server_process import (
    handle_stop_signals,
    install_reload_triggers,
    limit_exit_time,
    raise_file_limit,
    take_over,
)
from twisted_appserver.serving.service import AppService, make_router
from twisted_appserver.settings import OPTION_TYPES, THREADED_SERVER, Settings, settings_from_keywords


def run_server(
    url_patterns: Sequence[Any] | None = None,
    port: int = 8080,
    server_type: str = THREADED_SERVER,
    lifespan: Any = None,
    **options: Any,
) -> None:
    """
    Serve until Ctrl-C or SIGTERM, then finish the running calls and return.

    @param url_patterns: the table; if C{None}, the calling module's variable C{url_patterns} is used.
    @param port: the TCP port on the loopback interface; 0 picks a free port, which the first line of the log
        shows.
    @param server_type: C{THREADED_SERVER}, C{FORKED_SERVER} or C{CLUSTER_SERVER}.
    @param lifespan: the lifespan of the application; if C{None}, the variable C{lifespan} of the same module,
        if there is one.
    @param options: the other options; see L{Settings}.
    @raise SystemExit: when the server cannot start, with one line that gives the reason.
    """
    module = sys._getframe(1).f_globals
    try:
        refuse_while_loading("run_server()")
        settings = settings_from_keywords(port=port, server_type=server_type, **options)
        given = settings.app is not None
        prepare_to_watch(settings)
        application = (
            Application.parse(settings.app) if given else Application.of(module, url_patterns, lifespan)
        )
        imported: Any = None if given else module.get(application.lifespan)
        if url_patterns is None and given:
            with asyncio_by_default():
                url_patterns, imported = application.load_all()
        elif url_patterns is None:
            url_patterns = module[application.name]
        router = make_router(settings, url_patterns, imported, lifespan)
        _serve(settings, application, router)
    except KeyboardInterrupt:  # before the reactor runs
        sys.exit(INTERRUPTED)
    except (AppserverError, CannotListenError) as error:
        sys.exit(f"appserver: {explain_start_error(error)}")


def _serve(settings: Settings, application: Application, router: Router) -> None:
    choose_reactor(settings, router)
    from twisted.internet import reactor

    globalLogBeginner.beginLoggingTo(
        [make_observer(sys.stderr, settings.log_format)], redirectStandardIO=False
    )
    service = AppService(reactor, settings, application, router)
    for warning in ignored_variables(os.environ, TableOptions.environment_prefix, OPTION_TYPES):
        service.log.warn("{warning}", warning=warning)
    service.on_terminal = sys.stderr.isatty() and settings.log_format != "json"
    failures: list[Failure] = []

    def failed(failure: Failure) -> None:
        if service.running:
            failures.append(failure)
            reactor.stop()

    def stop() -> Deferred[None]:
        return service.stopService().addCallback(lambda _: limit_exit_time(service))

    raise_file_limit(settings)
    install_reload_triggers(service, reactor, settings)
    handle_stop_signals(service, reactor, lambda: None)
    service.startService()
    take_over()
    service.started.addErrback(failed)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.run()
    if failures:
        failures[0].raiseException()
