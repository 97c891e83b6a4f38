"""run_server: a server in one call."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from twisted_appserver.core.application import Application, refuse_while_loading
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError
from twisted_appserver.serving.logs import observer
from twisted_appserver.serving.process import leave, needs_asyncio, raise_files, reload_when_asked, settle
from twisted_appserver.serving.service import AppService
from twisted_appserver.settings import THREADED_SERVER, Settings, settings_of


def run_server(
    url_patterns: Sequence[Any] | None = None,
    port: int = 8080,
    server_type: str = THREADED_SERVER,
    **options: Any,
) -> None:
    """
    Serve until Ctrl-C or SIGTERM; running calls are first finished.

    @param url_patterns: the table; C{None} for the variable of that name in the module that calls this.
    @param port: TCP port on the loopback interface; 0 for any free one, which the first line tells.
    @param server_type: C{THREADED_SERVER}, C{FORKED_SERVER} or C{CLUSTER_SERVER}.
    @param options: see L{Settings}.
    @raise SystemExit: with one line that says why, when it cannot serve.
    """
    module = sys._getframe(1).f_globals
    try:
        refuse_while_loading("run_server()")
        settings = settings_of(port=port, server_type=server_type, **options)
        given = settings.app is not None
        application = Application.parse(settings.app) if given else Application.of(module, url_patterns)
        if url_patterns is None:
            url_patterns = application.load() if given else module[application.name]
        _serve(settings, application, Router(url_patterns))
    except (AppserverError, CannotListenError) as error:
        sys.exit(f"appserver: {error}")


def _serve(settings: Settings, application: Application, router: Router) -> None:
    if needs_asyncio(settings, router):
        from twisted.internet import asyncioreactor

        asyncioreactor.install()
    from twisted.internet import reactor

    globalLogBeginner.beginLoggingTo([observer(sys.stderr, settings.log_format)], redirectStandardIO=False)
    service = AppService(reactor, settings, application, router)
    failures: list[Failure] = []

    def failed(failure: Failure) -> None:
        if service.running:
            failures.append(failure)
            reactor.stop()

    def stop() -> Deferred[None]:
        return service.stopService().addCallback(lambda _: leave(service))

    raise_files(settings)
    reload_when_asked(service, reactor, settings)
    service.startService()
    settle()
    service.started.addErrback(failed)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.run()
    if failures:
        failures[0].raiseException()
