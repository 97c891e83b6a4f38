"""Checks servers regularly: which have reached a limit, and which are frozen."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twisted_appserver.executors.processes.resident_memory import resident_memory
from twisted_appserver.serving.servers.figure_reports import INTERVAL
from twisted_appserver.serving.servers.successors import Successors
from twisted_appserver.serving.servers.supervised_server import SupervisedServer
from twisted_appserver.settings import FORKED_SERVER, Settings

MOST_SILENT = 12  # intervals without a report: functions may block the reactor for one minute


class ServerChecks:
    """
    Replaces a server that has answered C{max_requests} calls, or whose memory exceeds C{max_rss}, one at a
    time. Kills a server that does not report. If servers have worker processes, the limits are for these.

    @param supervisor: the L{Supervisor}, which starts another server in place of one that was killed.
    @param successors: replaces single servers.
    """

    log = Logger(namespace="twisted_appserver")

    def __init__(self, reactor: Any, settings: Settings, supervisor: Any, successors: Successors) -> None:
        self._supervisor, self._successors = supervisor, successors
        limited = settings.server_type != FORKED_SERVER
        self._max_requests = settings.max_requests if limited else 0
        self._max_rss = settings.max_rss if limited else 0
        self._clock = LoopingCall(self._check)
        self._clock.clock = reactor

    def start(self) -> None:
        """Check the servers from now on."""
        self._clock.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Check no more."""
        if self._clock.running:
            self._clock.stop()

    def _check(self) -> None:
        # Intervals are counted, not time, so that nothing is killed when the whole machine was suspended.
        for server in self._supervisor.reporting():
            server.silent += 1
            if server.silent > MOST_SILENT:
                server.kill_frozen(f"it did not report for {MOST_SILENT * INTERVAL:g} seconds")
        if not self._supervisor.reloading and not self._successors.starting:
            self._replace_one()

    def _replace_one(self) -> None:
        """Replace the first server that has reached a limit."""
        for server in sorted(self._supervisor.reporting(), key=lambda each: each.number):
            if not server.retired and (reached := self._reached(server)):
                which = f"server {server.number} (process {server.pid})"
                self.log.info("{which} {reached} and is replaced", which=which, reached=reached)
                self._successors.start(server.number)
                return

    def _reached(self, server: SupervisedServer) -> str:
        if self._max_requests and server.calls >= self._max_requests:
            return f"has answered {server.calls} calls"
        if self._max_rss and resident_memory(server.pid) > self._max_rss:
            return "exceeds its memory limit"
        return ""
