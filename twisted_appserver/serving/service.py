"""
C{make_service} and the service that it makes: a server that starts, drains and stops.

No thread, process, socket or file is opened before the service starts, because twistd forks after it has made
the service.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Unpack

from twisted.application.service import Service
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.admin import is_public
from twisted_appserver.admin import url_patterns as admin_patterns
from twisted_appserver.admin.figures import ADMIN, Figures
from twisted_appserver.admin.overview import Overviews
from twisted_appserver.core.application import Application
from twisted_appserver.core.application_info import ApplicationInfo
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.lifespans import Lifespans
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.executors.child_processes import protect, unprotect
from twisted_appserver.executors.interface import IExecutor
from twisted_appserver.executors.processes.head_start import HeadStart
from twisted_appserver.http.app_resource import AppResource
from twisted_appserver.http.epoll_reader import EpollReader
from twisted_appserver.http.site import AppSite
from twisted_appserver.jobs.interface import IJobs
from twisted_appserver.jobs.put_jobs import PutJobs
from twisted_appserver.jobs.route_queues import PREFIX
from twisted_appserver.option_values import OptionValues
from twisted_appserver.serving.access_log import AccessLog
from twisted_appserver.serving.assembly import make_dispatcher, make_jobs, refuse_options_of_commands
from twisted_appserver.serving.banner import (
    SAVED,
    banner,
    describe_access,
    describe_application,
    describe_hosts,
    docs_url,
)
from twisted_appserver.serving.endpoints import Endpoints
from twisted_appserver.serving.logs import RequestLog
from twisted_appserver.serving.readiness import IDependency
from twisted_appserver.serving.reloader import Reloader, log_notes
from twisted_appserver.serving.service_executors import ServiceExecutors, imports_by_name
from twisted_appserver.serving.stop_signals import StopHandlers
from twisted_appserver.settings import Settings, settings_from_keywords

FLUSH = 0.5  # seconds that a stopping server waits for clients to read the last responses


class AppService(Service):
    """
    A server. It listens and performs calls. When stopped, it finishes the running calls first.

    @param application: the table, and the name under which worker processes import it.
    @param head_start: worker processes that have been started already.
    @param reloadable: false if the table cannot be imported again.
    @param endpoints: where it listens, if not where the settings say.
    @ivar resource: the application as a Twisted resource, which can be mounted elsewhere too.
    @ivar executor: the executor that runs calls by default.
    @ivar number: the number of one of several servers; empty for a single server.
    @ivar on_terminal: whether the log is text on a terminal.
    @ivar signals: the handlers of the signals that stop the process; C{None} if the process does not belong
        to the service.
    @ivar started: fires when calls can be performed; fails with L{ConfigurationError} if they never can.
    """

    log = Logger(namespace="twisted_appserver")
    number = ""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        application: Application,
        router: Router,
        head_start: HeadStart | None = None,
        reloadable: bool = True,
        endpoints: Endpoints | None = None,
    ) -> None:
        self._reactor, self._settings = reactor, settings
        self._application, self._reloadable = application, reloadable
        self._access_log: AccessLog | None = None
        self._request_log = RequestLog(reactor)
        reader = EpollReader(reactor)
        self._executors = ServiceExecutors(reader, settings, application, router, head_start)
        executors, default = self._executors.by_name, self._executors.default
        self.executor: IExecutor = executors[default]
        self.dispatcher, guard = make_dispatcher(reactor, settings, router, executors, default)
        self._lifespans = Lifespans(reactor, self.dispatcher)
        self._figures = Figures(self)
        self._overviews = Overviews(self._figures)
        self._jobs: IJobs | None = None
        if not settings.no_admin:
            guard.is_public = is_public
            self._jobs = make_jobs(self.dispatcher, settings)
            self.dispatcher.admin = Router(admin_patterns(self, self._overviews, self._jobs, settings.mcp))
            for handler in self.dispatcher.admin.handlers:
                handler.executor = ADMIN
        self._put_jobs = PutJobs(self.dispatcher)
        self.resource = AppResource(self.dispatcher, max_body=settings.max_body, compress=settings.compress)
        self.site = AppSite(self.resource, reader, settings)
        self._endpoints = endpoints or Endpoints(reactor, settings)
        parts = (guard, self.dispatcher, self._lifespans, self._executors, self.site)
        self._reloader = Reloader(reactor, settings, application if reloadable else None, *parts)
        self.started: Deferred[None] = Deferred()
        self.on_terminal = False
        self.signals: StopHandlers | None = None

    def startService(self) -> None:
        """
        Listen, and start the executors.

        @raise CannotListenError: when an address is in use. Nothing stays open then.
        @raise ConfigurationError: when the token or passwords cannot be read, or when other machines could
            call without authentication, or the store cannot be used.
        """
        self._reloader.load_credentials()
        path = self._settings.access_log
        access_log = AccessLog(path) if path else None
        with ExitStack() as opened:  # closed again if the next part cannot be opened
            if access_log is not None:
                opened.callback(access_log.close)
            if self._jobs is not None:
                self._jobs.open()
                opened.callback(self._jobs.close)
            self._endpoints.open(self.site)
            opened.pop_all()
        super().startService()
        self._put_jobs.open()
        if self.started.called:
            self.started = Deferred()
        self._start_logs(access_log)
        self.site.ports = list(self.ports)
        protect(self, self.site.descriptors)
        started = [self._executors.start(), self._lifespans.start()]
        gatherResults(started, consumeErrors=True).addCallbacks(
            self._executors_started, self._executors_failed
        )
        self._announce()

    def _announce(self) -> None:
        """Log where the service listens, and the warnings about its table. Subclasses override this."""
        self.log.info("{banner}", banner=banner(self.line(), self._facts(), self.on_terminal))
        log_notes(self.log, self._reactor, self.dispatcher.router, self._settings)

    def check_addresses(self) -> None:
        """
        @raise ConfigurationError: when other machines could call without authentication.
        """
        self._endpoints.check()

    def _start_logs(self, access_log: AccessLog | None) -> None:
        if access_log is not None:
            self._access_log = access_log
            self.dispatcher.observers.append(access_log)
        on_terminal = sys.__stdout__ is not None and sys.__stdout__.isatty()
        if self._settings.log_requests == "always" or (self._settings.log_requests == "auto" and on_terminal):
            self.dispatcher.observers.append(self._request_log)

    def _stop_logs(self) -> None:
        if self._request_log in self.dispatcher.observers:
            self.dispatcher.observers.remove(self._request_log)
        if self._access_log is not None:
            self.dispatcher.observers.remove(self._access_log)
            self._access_log.close()
            self._access_log = None

    def _executors_started(self, _: Any) -> None:
        if self._jobs is not None and self.running:
            self._jobs.begin()
        self.started.callback(None)

    def _executors_failed(self, failure: Failure) -> None:
        while isinstance(failure.value, FirstError):
            failure = failure.value.subFailure
        self.started.errback(failure)
        if not self.running:  # a stop during the start is an error only if something waits for the start
            self.started.addErrback(lambda _: None)

    @property
    def ports(self) -> list[Any]:
        """The ports that are listening, as C{IListeningPort}."""
        return self._endpoints.ports

    def line(self) -> str:
        """Return one line for people: the URLs, the server type, and the numbers of threads and workers."""
        return f"{self._endpoints} {self._settings.server_type}, {self._executors.sizes()}"

    def _facts(self) -> dict[str, str]:
        """Return the facts that the log shows at the start, after L{line}."""
        settings = self._settings
        return {
            "application": self.describe(),
            "reload": SAVED if settings.reload else "",
            "access": describe_access(settings),
            "hosts": describe_hosts(settings),
            "functions": "" if settings.no_admin else docs_url(self._endpoints.urls()),
        }

    def describe(self) -> str:
        """Return a description of the application, for people. Subclasses override this."""
        return describe_application(self._application, len(self.dispatcher.router.handlers))

    @property
    def info(self) -> ApplicationInfo:
        """The title, the version and the description of the application."""
        functions = [handler.original for handler in self.dispatcher.router.handlers]
        return ApplicationInfo(self._application if self._reloadable else None, functions)

    @property
    def folder(self) -> str:
        """The folder of the application's files."""
        module = sys.modules.get(self._application.module)
        path = self._application.file or getattr(module, "__file__", "") or ""
        return os.path.dirname(os.path.abspath(path))

    def shown_queues(self) -> tuple[Any, str]:
        """
        Return two values: the L{IBroker} of the queues that pages and metrics show, or C{None}; and the
        prefix of their names. Subclasses override this.
        """
        return getattr(self._jobs, "broker", None), PREFIX

    def queues(self) -> dict[str, Any]:
        """Return the figures of the service's task queues by their names."""
        broker, prefix = self.shown_queues()
        figures = broker.snapshot() if broker is not None and broker.started else {}
        return {name: each for name, each in figures.items() if name.startswith(prefix)}

    def attempt_durations(self) -> dict[tuple[str, str], Any]:
        """Return the L{Durations} of attempts, by queue and outcome."""
        broker, prefix = self.shown_queues()
        durations = {} if broker is None else broker.durations
        return {key: each for key, each in durations.items() if key[0].startswith(prefix)}

    def unready(self) -> str:
        """Return why calls cannot be performed now, or an empty string."""
        if not self.running or not self.ports:
            return "the server is stopping" if self.started.called else "the server is starting"
        if self.executor.pending >= self._settings.max_pending:
            return f"{self.executor.pending} calls are already waiting"
        reasons = (dependency.unready() for dependency in self._dependencies())
        own = self._executors.unready() or self._lifespans.unready()
        return own or "; ".join(filter(None, reasons))

    async def check(self) -> None:
        """Check what the functions depend on, such as stores, so that L{unready} is up to date."""
        for dependency in self._dependencies():
            await dependency.check()

    def _dependencies(self) -> set[Any]:
        owners = (getattr(handler.original, "__self__", None) for handler in self.dispatcher.router.handlers)
        return {owner for owner in owners if IDependency.providedBy(owner)}

    @property
    def reload_problem(self) -> str:
        """Why the last reload failed; empty if it succeeded."""
        return self._reloader.problem

    def reload(self) -> Deferred[None]:
        """
        Read the token and the passwords again, and import the application again.

        Calls that have begun finish with the previous code. No call fails because of the reload. Tokens and
        passwords that are no longer valid stop working at once.

        @return: a Deferred that fires when the new state is in use. It fails with L{AppserverError} when a
            part cannot be reloaded; the previous state of that part stays in use.
        """
        return self._reloader.reload()

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, finish the running calls, and stop the executors.

        @return: a Deferred that fires when no socket, worker or timer is left: after every call has been
            answered or the grace period is over.
        """
        return Deferred.fromCoroutine(self._stop())

    def kill(self) -> None:
        """Kill all worker processes, because the process ends at once."""
        for executor in self.dispatcher.executors.values():
            if kill := getattr(executor, "kill", None):
                kill()

    @property
    def in_flight(self) -> int:
        """How many calls have begun and have not been answered."""
        return self.dispatcher.in_flight

    @property
    def hanging_threads(self) -> int:
        """How many functions hang in their threads after the service has stopped."""
        threads: Any = self.dispatcher.executors.get("threads")
        return threads.running if threads is not None else 0

    def _stopping_line(self) -> str:
        """
        Describe what a stopping service waits for, how long, and how to end it at once. Subclasses override
        this; an empty line is not logged.
        """
        calls = self.in_flight
        if not calls:
            return "stopping"
        hint = f"; to stop at once, {self.signals.advice}" if self.signals and self.signals.advice else ""
        seconds = f"{self._settings.graceful_timeout:g}"
        return f"stopping: waiting for {calls} call{'s' * (calls != 1)}, at most {seconds} seconds{hint}"

    async def _stop(self) -> None:
        super().stopService()
        self._lifespans.stop_entering()
        await self._endpoints.close()
        if self._jobs is not None:
            self._jobs.rest()
        if line := self._stopping_line():
            self.log.info("{line}", line=line)
        closed = self.site.finish()
        drained = self.dispatcher.drained()
        drained.addTimeout(self._settings.graceful_timeout, self._reactor)
        drained.addErrback(
            lambda _: self.log.warn(
                "{n} calls did not finish within the grace period", n=self.dispatcher.in_flight
            )
        )
        await drained
        if self._jobs is not None:
            await self._jobs.stop()
        await self._executors.stop()
        closed.addTimeout(FLUSH, self._reactor)
        closed.addErrback(lambda _: self.log.warn("aborting connections whose clients do not read"))
        await closed
        await self._lifespans.stop()
        self._figures.stop()
        self._put_jobs.close()
        if self._jobs is not None:
            await self._jobs.close()
        self._stop_logs()
        self.dispatcher.stop()
        unprotect(self)


def make_router(settings: Settings, patterns: Sequence[Any], imported: Any, given: Any) -> Router:
    """
    Return the table of a service, with its lifespan.

    @param imported: the lifespan that worker processes import, or C{None}.
    @param given: the lifespan that was passed as an argument, or C{None}.
    @raise ConfigurationError: when worker processes would need another lifespan than they import.
    """
    router = Router(patterns, imported if given is None else given)
    if given is not None and given is not imported and imports_by_name(settings, router):
        raise ConfigurationError("worker processes import the lifespan: define it in the module of the table")
    return router


def make_service(
    url_patterns: Sequence[Any] | None = None,
    *,
    lifespan: Any = None,
    reactor: Any = None,
    **options: Unpack[OptionValues],
) -> AppService:
    """
    Make a service from a table and options.

    @param url_patterns: the table; if C{None}, it is imported from the C{app} option. Worker processes and a
        cluster must be able to import the table, so they need C{app}.
    @param lifespan: the lifespan of the table; if C{None} and the table is imported, its module's variable
        C{lifespan}.
    @param reactor: the reactor; if C{None}, the global one.
    @param options: the options; see L{Settings}.
    @raise PatternError: when an entry of the table cannot be used.
    @raise ConfigurationError: when the application cannot be imported, or an option is wrong.
    """
    settings = settings_from_keywords(**options)
    refuse_options_of_commands(settings)
    application = Application.parse(settings.app)
    if reactor is None:
        from twisted.internet import reactor
    patterns, imported = application.load_all() if url_patterns is None else (url_patterns, None)
    router = make_router(settings, patterns, imported, lifespan)
    if url_patterns is not None and settings.app is None and imports_by_name(settings, router):
        raise ConfigurationError("worker processes import the application: pass app='module:name'")
    reloadable = url_patterns is None or settings.app is not None
    return AppService(reactor, settings, application, router, reloadable=reloadable)
