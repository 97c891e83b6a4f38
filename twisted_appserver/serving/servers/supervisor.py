"""
The supervisor: starts servers, replaces and stops them, and keeps their listening sockets open.

Strategy: there are two sets of servers, both by number. The current ones accept connections. During a reload
there are also the next ones, which take over when all of them are ready. The servers that they replace end by
themselves, when their clients have moved.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from twisted_appserver.core.application import Application
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.executors.processes.pool import MAX_KILLED, RELOAD_TIMEOUT
from twisted_appserver.serving.banner import banner
from twisted_appserver.serving.endpoints import Endpoints
from twisted_appserver.serving.servers.figure_collection import FigureCollection
from twisted_appserver.serving.servers.new_servers import NewServers
from twisted_appserver.serving.servers.restart_pauses import RestartPauses
from twisted_appserver.serving.servers.server_checks import ServerChecks
from twisted_appserver.serving.servers.server_start import folder_of
from twisted_appserver.serving.servers.shared_sockets import QuietFactory, SharedPort, SocketOpener
from twisted_appserver.serving.servers.socket_owners import owners_of_sockets
from twisted_appserver.serving.servers.successors import Successors, discard
from twisted_appserver.serving.servers.supervised_server import SupervisedServer
from twisted_appserver.serving.servers.timers import Timers
from twisted_appserver.serving.stop_signals import StopHandlers
from twisted_appserver.settings import Settings

MOVING_TIME = 2.0  # seconds that clients have to move to new servers if reloads follow each other
CLOSING_TIME = 0.5  # seconds that old servers have to accept nothing more
SPARE_TIME = 15.0  # seconds beyond the grace period that a server has to stop


def stopping_line(count: int, signals: StopHandlers | None) -> str:
    """
    Return the line of the log when servers stop.

    @param count: the number of servers.
    """
    hint = f"; to stop at once, {signals.advice}" if signals and signals.advice else ""
    return f"stopping {count} server{'s' * (count != 1)}{hint}"


class Supervisor(Service):
    """
    A service that consists of several servers.

    @param settings: the options, with an address that the supervisor opens.
    @param application: the application, which every server imports.
    @param count: the number of servers.
    @param reactor_module: the module of the reactor of the servers; empty if the application decides.
    @param prints_to_log: whether what functions print goes to the log.
    @ivar on_terminal: whether the log is text on a terminal.
    @ivar signals: the handlers of the signals that stop the process.
    @ivar figures: the figures of all servers.
    @ivar reloading: fire when the next servers have taken over; empty if no reload takes place.
    @ivar started: fires when all servers are ready; fails with L{ConfigurationError} if they cannot start.
    @raise ConfigurationError: when the servers could not import the application, or an endpoint is wrong.
    """

    log = Logger(namespace="twisted_appserver")

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        application: Application,
        count: int,
        reactor_module: str = "",
        prints_to_log: bool = False,
    ) -> None:
        application.check()
        self._reactor, self._settings, self._application = reactor, settings, application
        self._count, opener = count, SocketOpener(reactor, count)
        self._endpoints = Endpoints(opener, settings)
        self._new = NewServers(reactor, settings, application, opener, reactor_module, prints_to_log)
        self._current: dict[int, SupervisedServer] = {}
        self._next: dict[int, SupervisedServer] = {}
        self._living: set[SupervisedServer] = set()
        self._pauses = RestartPauses()
        self._reloads: list[Deferred[None]] = []  # requested
        self.reloading: list[Deferred[None]] = []
        self._reload_timer: Any = None
        self._handing_over = False  # whether the next servers wait until the old ones do not accept
        self._accepting: set[SupervisedServer] = set()  # these old ones
        self._killed = 0  # next servers that were killed from outside
        self._timers = Timers(reactor)
        self.figures = FigureCollection(reactor, self.reporting)
        self._successors = Successors(self._spawn, self._succeed)
        self._checks = ServerChecks(reactor, settings, self, self._successors)
        self._stopped: Deferred[None] | None = None
        self.started: Deferred[None] = Deferred()
        self.on_terminal = False
        self.signals: StopHandlers | None = None

    in_flight = hanging_threads = 0  # calls are in the servers only

    @property
    def folder(self) -> str:
        """The folder of the application's files."""
        return folder_of(self._application)

    # ---- the start ----

    def startService(self) -> None:
        """
        Listen, and start the servers.

        @raise CannotListenError: when an address is in use. Nothing stays open then.
        @raise ConfigurationError: when an endpoint cannot be shared, or when other machines could call
            without authentication.
        """
        self._endpoints.open(QuietFactory())
        if not all(isinstance(each, SharedPort) for each in self._endpoints.ports):
            self._endpoints.close()
            raise ConfigurationError("several servers cannot share one of the endpoints; use --servers 1")
        super().startService()
        for number in range(1, self._count + 1):
            if not self._spawn(number, self._current):
                return

    def _spawn(self, number: int, servers: dict[int, SupervisedServer]) -> bool:
        """Start a server. If the system refuses, treat it like a server that could not start."""
        server = servers[number] = self._new.make(self, number)
        self._living.add(server)
        try:
            server.spawn(self._new.descriptors())
        except OSError as error:
            server.reason = f"it cannot be started: {error}"
            self.server_ended(server)
            return False
        return True

    def server_ready(self, server: SupervisedServer) -> None:
        """Use a server that can perform calls."""
        self.figures.server_ready(server)
        if server in self._next.values():
            if all(each.ready for each in self._next.values()):
                self._take_over()
        elif server in self._successors:
            self._successors.ready(server)
        elif self.started.called:
            self._share_sockets()
        elif len(self._current) == self._count and all(each.ready for each in self._current.values()):
            self._finish_start()

    def _finish_start(self) -> None:
        first = self._current[1].ready
        assert first is not None
        where = f"{self._endpoints} {self._settings.server_type}"
        line = f"{where}, {first.sizes} in each of {self._count} servers"
        self.log.info("{banner}", banner=banner(line, first.facts, self.on_terminal))
        self.started.callback(None)
        self._checks.start()
        self._share_sockets()
        self._reload_if_requested()

    def reporting(self) -> list[SupervisedServer]:
        """Return the servers that may have performed calls."""
        unused = {*self._next.values(), *self._successors.starting.values()}
        return [each for each in self._living if each.ready and each not in unused]

    def _share_sockets(self) -> None:
        """
        Let each server accept from its own socket. The socket of a server that is not there is served by
        another one, because clients would wait there.
        """
        if self._handing_over:
            return
        owners = owners_of_sockets(self._count, self._current.values())
        for server, numbers in owners.items():
            server.accept_from(numbers)

    # ---- servers that end ----

    def server_ended(self, server: SupervisedServer) -> None:
        """Start another server in place of one that has ended. Nothing else replaces dead servers."""
        self._living.discard(server)
        restarted = self._stopped is None and server in self._current.values() and not server.ending
        self.figures.ended(server, restarted)
        self.server_closed(server)
        if self._stopped is not None:
            if not self._living:
                self._stopped.callback(None)
        elif server.retired or server.ending:
            pass
        elif server in self._next.values():
            self._next_ended(server)
        elif server in self._successors:
            self._successors.ended(server)
        elif server in self._current.values():
            self._current_ended(server)

    def _current_ended(self, server: SupervisedServer) -> None:
        del self._current[server.number]
        pause = self._pauses.after(server, self._reactor.seconds())
        starting, again = not self.started.called, server.was_killed
        if starting and not (again and self._pauses.failures[server.number] <= MAX_KILLED):
            self._fail_start(server.reason or server.ending_line)
            return
        self.log.error("{how}; it is started again", how=server.ending_line)
        self._share_sockets()
        self._timers.call_later(pause, partial(self._respawn, server.number))

    def _respawn(self, number: int) -> None:
        if self._stopped is None and number not in self._current:
            self._spawn(number, self._current)

    def _fail_start(self, reason: str) -> None:
        self.kill()
        self._endpoints.close()
        self.started.errback(ConfigurationError(reason))

    # ---- new before old ----

    def _succeed(self, server: SupervisedServer) -> None:
        old, self._current[server.number] = self._current.get(server.number), server
        if old is not None:
            old.retire()
        self._share_sockets()

    def reload(self) -> Deferred[None]:
        """
        Start new servers, which import the application and read the token and the passwords again. When all
        are ready, they take over. Reloads that are requested during a reload are one.

        @return: fires when the new servers have taken over. Fails with L{ConfigurationError} when they cannot
            start; the old ones go on then.
        """
        requested: Deferred[None] = Deferred()
        self._reloads.append(requested)
        for server in self._current.values():
            server.read_credentials()
        self._reload_if_requested()
        return requested

    def _reload_if_requested(self) -> None:
        if self.reloading or not self._reloads or not self.started.called or self._stopped is not None:
            return
        self.reloading, self._reloads = self._reloads, []
        discard(self._successors.starting)
        for server in self._living:
            if server.retired and self._reactor.seconds() - server.retired_since > MOVING_TIME:
                server.retire()
        self._reload_timer = self._reactor.callLater(RELOAD_TIMEOUT, self._reload_timed_out)
        self._killed = 0
        for number in range(1, self._count + 1):
            if not self._spawn(number, self._next):
                return

    def _take_over(self) -> None:
        if len(self._next) < self._count:
            return
        old, self._current, self._next = self._current, self._next, {}
        self._pauses = RestartPauses()
        # The new ones accept when the old ones do not, so that no client gets old code after new code.
        self._handing_over, self._accepting = True, {each for each in old.values() if each.ready}
        self._timers.call_later(CLOSING_TIME, self._hand_over)
        for server in old.values():
            server.retire()
        self._hand_over_when_closed()

    def server_closed(self, server: SupervisedServer) -> None:
        """Note that an old server does not accept any more."""
        self._accepting.discard(server)
        self._hand_over_when_closed()

    def _hand_over_when_closed(self) -> None:
        if not self._accepting:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._handing_over and self._stopped is None:
            self._handing_over = False
            self._share_sockets()
            self.log.info("application reloaded by {count} new servers", count=self._count)
            self._end_reload(None)

    def _next_ended(self, server: SupervisedServer) -> None:
        del self._next[server.number]
        self._killed += server.was_killed
        if server.was_killed and self._killed <= MAX_KILLED * self._count:
            self._spawn(server.number, self._next)
        else:
            self._fail_reload(server.reason or server.ending_line)

    def _reload_timed_out(self) -> None:
        self._fail_reload(f"the new servers were not ready after {RELOAD_TIMEOUT:g} seconds")

    def _fail_reload(self, reason: str) -> None:
        discard(self._next)
        problem = f"reload failed; still serving the previous code: {reason}"
        for server in self._current.values():
            server.show_problem(problem)
        self.log.error("{problem}", problem=problem)
        self._end_reload(ConfigurationError(reason))

    def _end_reload(self, error: ConfigurationError | None) -> None:
        if self._reload_timer is not None and self._reload_timer.active():
            self._reload_timer.cancel()
        reloading, self.reloading = self.reloading, []
        for each in reloading:
            if error is None:
                each.callback(None)
            else:
                each.errback(error)
        self._reload_if_requested()

    # ---- the end ----

    def kill(self) -> None:
        """Kill all servers, because the process ends at once. May be called in a signal handler."""
        for server in list(self._living):
            server.kill()

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and let all servers finish the calls that have arrived.

        @return: fires when no server is left.
        """
        super().stopService()
        self._checks.stop()
        self._timers.cancel()
        self._stopped = Deferred()
        if self.started.called and self._living:
            self.log.info("{line}", line=stopping_line(len(self._living), self.signals))
        for server in self._living:
            server.stop()
        closed = self._endpoints.close()
        self.reloading, self._reloads = [*self.reloading, *self._reloads], []
        self._end_reload(ConfigurationError("stopped before the new servers were ready"))
        if not self._living:
            return succeed(None)
        late = self._reactor.callLater(self._settings.graceful_timeout + SPARE_TIME, self._kill_late)
        self._stopped.addCallback(lambda _: late.active() and late.cancel())
        return self._stopped.addCallback(lambda _: closed)

    def _kill_late(self) -> None:
        self.log.warn("{count} servers do not end by themselves and are killed", count=len(self._living))
        self.kill()
