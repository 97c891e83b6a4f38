"""The program of one of several servers: C{python -m twisted_appserver.serving.servers.server_main}."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from threading import Lock
from typing import Any

from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.logger import globalLogBeginner

from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError
from twisted_appserver.executors.child_processes import ignore, protect
from twisted_appserver.executors.processes.python_process import restore, unblock_stops
from twisted_appserver.executors.processes.server_watchdog import watch
from twisted_appserver.serving.endpoints import explain_start_error
from twisted_appserver.serving.process_exit import EXIT_TIMEOUT
from twisted_appserver.serving.reactor_choice import asyncio_by_default, choose_reactor
from twisted_appserver.serving.server_process import run_until_stopped
from twisted_appserver.serving.servers.messages import (
    ORDERS,
    REPORTS,
    SIZE,
    MessageLines,
    Report,
    ServerFailed,
    ServerStart,
    decode_order,
    encode,
)
from twisted_appserver.serving.servers.server_log import ReportingObserver
from twisted_appserver.serving.servers.server_service import ServerService

FAILED = 1  # the exit status of a server that cannot start


class Reports:
    """Sends messages to the supervisor, from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()

    def send(self, report: Report) -> None:
        """Send a message. Waits while the supervisor is slow to read."""
        data = encode(report)
        with self._lock:
            while data:
                try:
                    data = data[os.write(REPORTS, data) :]
                except OSError:  # the supervisor is gone
                    os._exit(FAILED)


class Orders:
    """
    Receives messages from the supervisor.

    @ivar obey: receives each message after the first.
    """

    obey: Any

    def __init__(self) -> None:
        self._lines, self._waiting = MessageLines(), list[bytes]()

    def first(self) -> ServerStart:
        """Wait for the first message, before there is a reactor."""
        while not self._waiting:
            if not (data := os.read(ORDERS, SIZE)):
                sys.exit(FAILED)
            self._waiting = self._lines.feed(data)
        start = decode_order(self._waiting.pop(0))
        assert isinstance(start, ServerStart)
        return start

    def fileno(self) -> int:
        return ORDERS

    def logPrefix(self) -> str:
        return "orders"

    def doRead(self) -> None:
        """Called by the reactor when something can be read."""
        data = os.read(ORDERS, SIZE)
        if not data:  # the supervisor is gone
            os._exit(FAILED)
        for line in self._lines.feed(data):
            self.obey(decode_order(line))

    def connectionLost(self, reason: Any) -> None:
        """Called by the reactor when it ends."""


def _receive_signals() -> None:
    """
    Let only the supervisor receive the signals of the terminal. SIGTERM for this process alone stops it, and
    the supervisor starts another server.
    """
    for name in ("SIGINT", "SIGHUP"):
        signal.signal(getattr(signal, name), ignore)
    unblock_stops()


def _serve(start: ServerStart, orders: Orders, reports: Reports) -> None:
    """
    @raise AppserverError: when the server cannot start.
    """
    if start.reactor:
        import_module(start.reactor).install()
    with asyncio_by_default():
        router = Router(*start.application.load_all())
    choose_reactor(start.settings, router)
    from twisted.internet import reactor

    observers: Any = [ReportingObserver(reports.send)]
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=start.prints_to_log)
    service = ServerService(reactor, start, router, reports.send, partial(_stop, reactor))
    orders.obey = service.obey
    service.started.addCallback(lambda _: service.report_ready())
    reactor.callWhenRunning(reactor.addReader, orders)
    run_until_stopped(service, reactor, start.settings, EXIT_TIMEOUT)


def _stop(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # it is stopping already
        reactor.stop()


def main() -> None:
    """Run a server until its supervisor ends it, or is gone."""
    _receive_signals()
    for descriptor in (ORDERS, REPORTS):
        os.set_inheritable(descriptor, False)
    protect(main, lambda: (ORDERS, REPORTS))
    watch(ORDERS)
    orders, reports = Orders(), Reports()
    start = orders.first()
    restore(start.search, start.environ)
    try:
        _serve(start, orders, reports)
    except (AppserverError, CannotListenError) as error:
        reports.send(ServerFailed(explain_start_error(error)))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
