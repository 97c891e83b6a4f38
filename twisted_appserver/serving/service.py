"""make_service: the parts of a server put together, started, drained and stopped.

No thread, process, socket or file is opened before the service is started: twistd forks between the two.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.access.credentials import credentials
from twisted_appserver.access.proxies import Proxies
from twisted_appserver.access.request_guard import Guard
from twisted_appserver.admin import url_patterns as admin_patterns
from twisted_appserver.admin.figures import ADMIN, Figures
from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import AppserverError, ConfigurationError
from twisted_appserver.executors.child_processes import protect, unprotect
from twisted_appserver.executors.cluster import DaskExecutor
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import IExecutor
from twisted_appserver.executors.processes.executor import ProcessExecutor
from twisted_appserver.executors.processes.head_start import HeadStart
from twisted_appserver.executors.threads import ThreadExecutor
from twisted_appserver.http.epoll_reader import Hub
from twisted_appserver.http.resource import AppResource
from twisted_appserver.http.site import AppSite
from twisted_appserver.jobs.registry import Jobs
from twisted_appserver.serving.access_log import AccessLog
from twisted_appserver.serving.endpoints import Listening
from twisted_appserver.serving.logs import Requests
from twisted_appserver.serving.readiness import INeeded
from twisted_appserver.settings import CLUSTER_SERVER, FORKED_SERVER, THREADED_SERVER, Settings, settings_of

NAMES = {THREADED_SERVER: "threads", FORKED_SERVER: "processes", CLUSTER_SERVER: "cluster"}
FLUSH = 0.5  # seconds that a stop waits for clients to read the last answers


def make_dispatcher(
    reactor: Any, settings: Settings, router: Router, executors: Mapping[str, IExecutor], default: str
) -> tuple[Dispatcher, Guard]:
    """
    @param executors: by the names that a Route may give.
    @return: the dispatcher, and its guard, who asks for no credentials yet.
    @raise ConfigurationError: when a name, an origin or a proxy is none, or there is no executor for a route.
    """
    proxies = Proxies(settings.proxied) if settings.proxied else None
    guard = Guard(settings.allow_host, settings.allow_origin, proxies)
    limits = (settings.timeout, settings.max_pending)
    shown = settings.display_tracebacks
    return Dispatcher(reactor, router, executors, default, guard, *limits, shown), guard


class AppService(Service):
    """
    A server: it listens, performs calls and, when stopped, lets running calls finish first.

    @ivar resource: the application, to be mounted elsewhere too.
    @ivar executor: what performs the calls.
    @ivar started: fires when calls can be performed; fails with L{ConfigurationError} when they never can.
    """

    log = Logger(namespace="twisted_appserver")
    reloadable = True  # whether the table comes from an application that can be imported again

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        application: Application,
        router: Router,
        head_start: HeadStart | None = None,
    ) -> None:
        self._reactor, self._settings, self._application = reactor, settings, application
        self._access_log: AccessLog | None = None
        self._requests = Requests(reactor)
        self.trouble = ""  # why the last reload did not succeed
        self._reloads = DeferredLock()  # one after the other
        self.executor: IExecutor
        hub = Hub(reactor)
        makers: dict[str, Callable[[], IExecutor]] = {
            "threads": lambda: ThreadExecutor(hub, settings.threads),
            "processes": lambda: ProcessExecutor(
                hub,
                application,
                settings.workers,
                router,
                settings.max_requests,
                settings.max_rss,
                head_start,
            ),
            "cluster": lambda: DaskExecutor(
                reactor, application, router, settings.scheduler, settings.workers, settings.upload
            ),
        }
        name = NAMES[settings.server_type]
        beside = {"threads", "cluster"} & {handler.executor for handler in router.handlers}
        if {"processes", "cluster"} & {name, *beside}:
            application.check()
        # The service's own pages have an executor of their own, so that they are not counted as calls.
        executors: dict[str, IExecutor] = {"inline": InlineExecutor(reactor), ADMIN: InlineExecutor(reactor)}
        executors |= {each: makers[each]() for each in {name, *beside}}
        self.executor = executors[name]
        self.dispatcher, self._guard = make_dispatcher(reactor, settings, router, executors, name)
        self._figures = Figures(self)
        if not settings.no_admin:
            self.dispatcher.jobs = Jobs(
                self.dispatcher, settings.max_jobs, settings.max_job_bytes, settings.job_age
            )
            self.dispatcher.admin = Router(admin_patterns(self, self._figures, self.dispatcher.jobs))
            for handler in self.dispatcher.admin.handlers:
                handler.executor = ADMIN
        self.resource = AppResource(self.dispatcher, max_body=settings.max_body)
        self.site = AppSite(self.resource, hub, settings)
        self._listening = Listening(reactor, settings)
        self.started: Deferred[None] = Deferred()

    def startService(self) -> None:
        """
        @raise CannotListenError: when an address is taken; nothing is left open then.
        @raise ConfigurationError: when secrets cannot be read, or strangers could call.
        """
        settings = self._settings
        if (asked := credentials(self._reactor, settings)) is not None:
            self._guard.ask(asked)
        access_log = AccessLog(settings.access_log) if settings.access_log else None
        try:
            self._listening.open(self.site)
        except Exception:
            if access_log is not None:
                access_log.close()
            raise
        super().startService()
        if self.started.called:
            self.started = Deferred()
        if access_log is not None:
            self._access_log = access_log
            self.dispatcher.observers.append(access_log)
        if settings.log_format or (sys.__stdout__ is not None and sys.__stdout__.isatty()):
            self.dispatcher.observers.append(self._requests)
        self.site.ports = list(self.ports)
        protect(self, self.site.descriptors)
        started = [executor.start() for executor in self.dispatcher.executors.values()]
        gatherResults(started, consumeErrors=True).addCallbacks(self._begun, self._not_begun)
        self.log.info("{line}", line=self.line())
        self._log_notes(self.dispatcher.router)

    def _log_notes(self, router: Router) -> None:
        for note in router.notes:
            self.log.warn("{note}", note=note)

    def _begun(self, _: Any) -> None:
        self.started.callback(None)

    def _not_begun(self, failure: Failure) -> None:
        error = failure.value
        self.started.errback(error.subFailure if isinstance(error, FirstError) else failure)
        if not self.running:  # it was stopped, which is no error where nobody waits for the start
            self.started.addErrback(lambda _: None)

    @property
    def ports(self) -> list[Any]:
        """What listens."""
        return self._listening.ports

    def line(self) -> str:
        """Where it listens and what performs the calls, for a person to read."""
        unit = "threads" if self._settings.server_type == THREADED_SERVER else "workers"
        return f"{self._listening} {self._settings.server_type}, {self.executor.size} {unit}"

    @property
    def title(self) -> str:
        """What it is called on its pages."""
        where = self._application
        name = where.module or os.path.basename(where.file).removesuffix(".py")
        return name if name and self.reloadable else "Functions"

    @property
    def folder(self) -> str:
        """Where its application's files are."""
        module = sys.modules.get(self._application.module)
        return os.path.dirname(
            os.path.abspath(self._application.file or getattr(module, "__file__", "") or "")
        )

    def queues(self) -> dict[str, Any]:
        """The figures of its task queues, by their names, if it has any."""
        return {}

    def unready(self) -> str:
        """Why no call can be taken now; empty if one can."""
        if not self.running or not self.ports:
            return "the server is stopping" if self.started.called else "the server starts"
        if self.executor.pending >= self._settings.max_pending:
            return f"{self.executor.pending} calls are waiting already"
        return self.executor.unready() or "; ".join(filter(None, (each.unready() for each in self._needed())))

    async def check(self) -> None:
        """Find out whether what the table needs works, so that L{unready} is up to date."""
        for each in self._needed():
            await each.check()

    def _needed(self) -> set[Any]:
        """What the functions of the table need, such as the stores of queues."""
        owners = (getattr(handler.function, "__self__", None) for handler in self.dispatcher.router.handlers)
        return {owner for owner in owners if INeeded.providedBy(owner)}

    def reload(self) -> Deferred[None]:
        """
        Read the token and the passwords again, and import the application again. Calls that have begun end as
        they were, and none fails. Tokens and passwords that are no longer valid stop working at once.

        @return: fires when both are in use; fails with L{AppserverError} when one of them cannot be used. Its
            previous state stays in use then.
        """
        return self._reloads.run(lambda: Deferred.fromCoroutine(self._reload()))

    async def _reload(self) -> None:
        refused = self._reload_credentials()
        if self.reloadable or self._guard.credentials is None:
            await self._reload_application()
        elif refused is None:
            self.trouble = ""
        if refused is not None:
            self.trouble = f"the previous token and passwords stay in use: {refused}"
            raise refused

    def _reload_credentials(self) -> ConfigurationError | None:
        """Returns why they cannot be used, if so; then the previous ones stay in use."""
        try:
            if (found := credentials(self._reactor, self._settings)) is not None:
                self._guard.ask(found)
                self.log.info("the token and passwords have been read again")
        except ConfigurationError as error:
            self.log.error("the previous token and passwords stay in use: {error}", error=error)
            return error
        return None

    async def _reload_application(self) -> None:
        try:
            if not self.reloadable:
                raise ConfigurationError("the table was handed in, there is nothing to import")
            router = await self._renewed()
        except AppserverError as error:
            self.trouble = f"not loaded again, the old code goes on: {error}"
            self.log.error("{why}", why=self.trouble)
            raise
        for executor in self.dispatcher.executors.values():
            if isinstance(executor, DaskExecutor):
                executor.adopt(router)
        self.dispatcher.router, self.trouble = router, ""
        self.site.forget()
        self.log.info("the application has been loaded again")
        self._log_notes(router)

    async def _renewed(self) -> Router:
        """The application's table as it is now; its workers import it at the same time."""
        pool = self.executor if isinstance(self.executor, ProcessExecutor) else None
        if pool is not None:
            pool.head_start = HeadStart(self._reactor, self._application, pool.size)
        try:
            router = Router(self._application.load(fresh=True))
            self.dispatcher.check(router)
            if pool is not None:
                await pool.renew(router)
        finally:
            if pool is not None and pool.head_start is not None:
                pool.head_start.stop()
        return router

    def stopService(self) -> Deferred[None]:
        """
        @return: fires when every call has been answered, or the grace period is over, and no socket, worker
            or timer is left.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        await self._listening.close()
        closed = self.site.finish()
        drained = self.dispatcher.drained()
        drained.addTimeout(self._settings.graceful_timeout, self._reactor)
        drained.addErrback(lambda _: self.log.warn("{n} calls are given up", n=self.dispatcher.in_flight))
        await drained
        for executor in self.dispatcher.executors.values():
            await executor.stop()
        closed.addTimeout(FLUSH, self._reactor)
        closed.addErrback(lambda _: self.log.warn("connections whose clients do not read are cut"))
        await closed
        self._figures.stop()
        if self.dispatcher.jobs is not None:
            self.dispatcher.jobs.stop()
        if self._requests in self.dispatcher.observers:
            self.dispatcher.observers.remove(self._requests)
        if self._access_log is not None:
            self.dispatcher.observers.remove(self._access_log)
            self._access_log.close()
            self._access_log = None
        self.dispatcher.stop()
        unprotect(self)


def make_service(
    url_patterns: Sequence[Any] | None = None, *, reactor: Any = None, **options: Any
) -> AppService:
    """
    Put a server together.

    @param url_patterns: the table; C{None} for that of the C{app} option. Workers, of the forked type or a
        cluster, must be able to import it, so there C{app} must name it.
    @param reactor: the embedder's; the global one if C{None}.
    @param options: see L{Settings}.
    @raise PatternError: when an entry of the table cannot be used.
    @raise ConfigurationError: when the application cannot be imported, or an option is wrong.
    """
    settings = settings_of(**options)
    if settings.reload:
        raise ConfigurationError("reload is for a server of its own: call the service's reload() instead")
    application = Application.parse(settings.app)
    if url_patterns is not None and settings.app is None and settings.server_type != THREADED_SERVER:
        raise ConfigurationError("worker processes import the application: give it as app='module:name'")
    if reactor is None:
        from twisted.internet import reactor
    patterns = application.load() if url_patterns is None else url_patterns
    service = AppService(reactor, settings, application, Router(patterns))
    service.reloadable = url_patterns is None or settings.app is not None
    return service
