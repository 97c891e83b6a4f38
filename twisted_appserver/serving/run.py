"""C{run_server}: start a server with one function call."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner

from twisted_appserver.command_line import INTERRUPTED
from twisted_appserver.core.application import Application, refuse_while_loading
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError
from twisted_appserver.option_values import OtherOptionValues
from twisted_appserver.serving.command_options import TableOptions
from twisted_appserver.serving.endpoints import explain_start_error
from twisted_appserver.serving.environment import ignored_variables
from twisted_appserver.serving.file_watcher import prepare_to_watch
from twisted_appserver.serving.logs import make_observer
from twisted_appserver.serving.reactor_choice import asyncio_by_default, choose_reactor
from twisted_appserver.serving.server_process import install_reload_triggers, run_until_stopped
from twisted_appserver.serving.servers.server_start import count_servers
from twisted_appserver.serving.servers.supervisor import Supervisor
from twisted_appserver.serving.service import AppService, make_router
from twisted_appserver.settings import OPTION_TYPES, THREADED_SERVER, Settings, settings_from_keywords


def run_server(
    url_patterns: Sequence[Any] | None = None,
    port: int = 8080,
    server_type: str = THREADED_SERVER,
    lifespan: Any = None,
    **options: Unpack[OtherOptionValues],
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
        prepare_to_watch(settings)
        if settings.app is not None:
            application = Application.parse(settings.app)
        else:
            application = Application.of(module, url_patterns, lifespan)
        count = count_servers(settings)
        if count > 1:
            _serve(settings, lambda reactor: Supervisor(reactor, settings, application, count))
            return
        router = _router(settings, application, module, url_patterns, lifespan)
        choose_reactor(settings, router)
        _serve(settings, lambda reactor: AppService(reactor, settings, application, router))
    except KeyboardInterrupt:  # before the reactor runs
        sys.exit(INTERRUPTED)
    except (AppserverError, CannotListenError) as error:
        sys.exit(f"appserver: {explain_start_error(error)}")


def _router(
    settings: Settings,
    application: Application,
    module: dict[str, Any],
    url_patterns: Sequence[Any] | None,
    lifespan: Any,
) -> Router:
    """Make the table of a server, from the arguments of L{run_server} and the globals of its caller."""
    imported: Any = None if settings.app is not None else module.get(application.lifespan)
    if url_patterns is None and settings.app is not None:
        with asyncio_by_default():
            url_patterns, imported = application.load_all()
    elif url_patterns is None:
        url_patterns = module[application.name]
    return make_router(settings, url_patterns, imported, lifespan)


def _serve(settings: Settings, make: Callable[[Any], AppService | Supervisor]) -> None:
    """
    Make a service, and run it until it is stopped.

    @param make: makes the service from the reactor.
    """
    from twisted.internet import reactor

    globalLogBeginner.beginLoggingTo(
        [make_observer(sys.stderr, settings.log_format)], redirectStandardIO=False
    )
    service = make(reactor)
    for warning in ignored_variables(os.environ, TableOptions.environment_prefix, OPTION_TYPES):
        service.log.warn("{warning}", warning=warning)
    service.on_terminal = sys.stderr.isatty() and settings.log_format != "json"
    install_reload_triggers(service, reactor, settings)
    run_until_stopped(service, reactor, settings)
