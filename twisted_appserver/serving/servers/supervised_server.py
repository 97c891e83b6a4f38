"""A server, as its supervisor sees it: its process, its messages and its end."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from msgspec import DecodeError
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_appserver.executors.processes.python_process import spawn_python
from twisted_appserver.executors.processes.worker_exit import WorkerExit
from twisted_appserver.serving.servers.messages import (
    FIRST_SOCKET,
    ORDERS,
    REPORTS,
    AcceptFrom,
    AllFigures,
    FiguresReport,
    FiguresWanted,
    Logged,
    MessageLines,
    Order,
    ReadCredentials,
    ReportFigures,
    Retire,
    ServerClosed,
    ServerFailed,
    ServerReady,
    ServerStart,
    ShowProblem,
    Stop,
    decode_report,
    encode,
)
from twisted_appserver.serving.servers.server_log import log_report

MODULE = "twisted_appserver.serving.servers.server_main"
LAST_REPORTS_TIMEOUT = 0.5  # seconds after its exit in which the last messages of a server are read


class SupervisedServer(ProcessProtocol):
    """
    A server process.

    @param supervisor: the L{Supervisor}, to which events are reported.
    @param start: the first message to the server.
    @ivar number: its number, counted from 1. Its successor has the same number.
    @ivar ready: what it reported when it was ready; C{None} before that.
    @ivar ready_since: when it reported this, in seconds since the epoch.
    @ivar retired: whether a successor has taken its place.
    @ivar retired_since: when that was.
    @ivar ending: whether the supervisor has ended it.
    @ivar reason: why it could not start, or was killed, as far as it is known.
    @ivar calls: the calls that it has reported as answered.
    @ivar silent: for how many intervals it has not reported.
    """

    transport: Any
    pid = 0

    def __init__(self, supervisor: Any, reactor: Any, start: ServerStart) -> None:
        self._supervisor, self._reactor, self._start = supervisor, reactor, start
        self.number = start.number
        self.ready: ServerReady | None = None
        self.retired = self.ending = False
        self.reason = ""
        self.calls = self.silent = 0
        self.ready_since = self.retired_since = 0.0
        self._lines, self._exit = MessageLines(), WorkerExit()
        self._owners: list[int] = []
        self._timer: Any = None

    def spawn(self, sockets: list[int]) -> None:
        """
        Start the process.

        @param sockets: the descriptors of all listening sockets.
        @raise OSError: when no descriptors, memory or processes are left.
        """
        null = os.open(os.devnull, os.O_RDONLY)
        descriptors: dict[int, int | str] = {0: null, 1: 1, 2: 2, ORDERS: "w", REPORTS: "r"}
        descriptors |= enumerate(sockets, FIRST_SOCKET)
        try:
            spawn_python(self._reactor, self, MODULE, descriptors)
        finally:
            os.close(null)

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        self._send(self._start)

    def _send(self, order: Order) -> None:
        if ORDERS in self.transport.pipes:
            self.transport.writeToChild(ORDERS, encode(order))

    # ---- orders ----

    def accept_from(self, owners: list[int]) -> None:
        """Let the server accept connections from the sockets of these servers only."""
        if owners != self._owners:
            self._owners = owners
            self._send(AcceptFrom(owners))

    def read_credentials(self) -> None:
        """Let the server read the token and the passwords again."""
        if self.ready is not None:
            self._send(ReadCredentials())

    def show_problem(self, problem: str) -> None:
        """Let the status page of the server show why the last reload failed."""
        if self.ready is not None:
            self._send(ShowProblem(problem))

    def report_figures(self, order: ReportFigures) -> None:
        """Let the server report its figures."""
        self._send(order)

    def send_figures(self, figures: AllFigures) -> None:
        """Send the figures of all servers, which the server has requested."""
        self._send(figures)

    def retire(self) -> None:
        """Let the server end when its clients have moved to its successor, and its calls have ended."""
        if not self.retired:
            self.retired, self.retired_since = True, self._reactor.seconds()
        if self.ready is None:
            self.stop()
        else:
            self._send(Retire())

    def stop(self) -> None:
        """Let the server finish the calls that have arrived, and end."""
        if not self.ending:
            self.ending = True
            if self.ready is None:  # it reads no orders yet
                self._signal("TERM")
            else:
                self._send(Stop())

    def kill(self) -> None:
        """End the process at once. May be called in a signal handler."""
        self.ending = True
        self._signal("KILL")

    def kill_frozen(self, reason: str) -> None:
        """
        Kill a server that does not react, so that another one takes its place.

        @param reason: how it was noticed.
        """
        self.reason = reason
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(name)

    # ---- reports ----

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        for line in self._lines.feed(data):
            try:
                report = decode_report(line)
            except DecodeError:  # a function has written to this descriptor
                continue
            if isinstance(report, Logged):
                log_report(self.number, report)
            elif isinstance(report, ServerFailed):
                self.reason = report.reason
            elif isinstance(report, ServerClosed):
                self._supervisor.server_closed(self)
            elif isinstance(report, FiguresReport):
                self.calls += report.counts.completed + report.counts.failed
                self.silent = 0
                self._supervisor.figures.reported(self, report)
            elif isinstance(report, FiguresWanted):
                self._supervisor.figures.wanted(self, report)
            else:
                self.ready, self.ready_since = report, self._reactor.seconds()
                self._supervisor.server_ready(self)

    def childConnectionLost(self, childFD: int) -> None:
        if childFD == REPORTS:
            self._exit.stdout_open = False
            self._report_end()

    def processExited(self, reason: Failure) -> None:
        self._exit.exited(reason)
        # A process that a function has left behind may hold the pipe open.
        self._timer = self._reactor.callLater(LAST_REPORTS_TIMEOUT, self._stop_reading)
        self._report_end()

    def _stop_reading(self) -> None:
        self._exit.stdout_open = False
        self.transport.loseConnection()
        self._report_end()

    def _report_end(self) -> None:
        """Report the end of the server, once."""
        if self._timer is None or self._exit.stdout_open:
            return
        if self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._supervisor.server_ended(self)

    @property
    def was_killed(self) -> bool:
        """Whether a signal has ended it that the supervisor has not sent."""
        return self._exit.signal is not None and not self.ending

    @property
    def ending_line(self) -> str:
        """How and why it has ended, for people."""
        return f"server {self.number} (process {self.pid}) {self._exit}" + (
            f": {self.reason}" if self.reason else ""
        )
