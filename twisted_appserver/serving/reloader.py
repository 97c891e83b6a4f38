"""Reload the application, the token and the passwords while the server runs."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from twisted_appserver.access.credentials import load_credentials
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.admin.operation_plan import OperationPlan
from twisted_appserver.admin.tool_requests import tool_notes
from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.dispatch.lifespans import Lifespans
from twisted_appserver.dispatch.start_notes import log_start_notes
from twisted_appserver.errors import AppserverError, ConfigurationError
from twisted_appserver.executors.reactor_lifespan import ReactorLifespan
from twisted_appserver.http.site import AppSite
from twisted_appserver.serving.assembly import why_jobless
from twisted_appserver.serving.service_executors import ServiceExecutors
from twisted_appserver.settings import Settings


class Reloader:
    """
    Replace the application, the token and the passwords of a running server. Reloads never overlap.

    @param application: C{None} if there is nothing to import, because the table was passed as an argument.
    @ivar problem: why the last reload failed; empty if it succeeded.
    """

    log = Logger(namespace="twisted_appserver")

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        application: Application | None,
        guard: RequestGuard,
        dispatcher: Dispatcher,
        lifespans: Lifespans,
        executors: ServiceExecutors,
        site: AppSite,
    ) -> None:
        self._reactor, self._settings, self._application = reactor, settings, application
        self._guard, self._dispatcher, self._executors, self._site = guard, dispatcher, executors, site
        self._lifespans = lifespans
        self._lock = DeferredLock()
        self.problem = ""

    def reload(self) -> Deferred[None]:
        """
        Read the token and the passwords again, and import the application again.

        @return: a Deferred that fires when the new state is in use. It fails with L{AppserverError} when a
            part cannot be reloaded; the previous state of that part stays in use.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._reload()))

    def load_credentials(self) -> None:
        """
        Read the token and the passwords, and require them from now on.

        @raise ConfigurationError: when they cannot be used. The previous ones stay in use.
        """
        loaded = load_credentials(self._reactor, self._settings)
        if loaded is not None:
            self._guard.require(loaded)

    async def _reload(self) -> None:
        error = self.reload_credentials()
        if self._application is not None or self._guard.credentials is None:
            await self._reload_application()
        elif error is None:
            self.problem = ""
        if error is not None:
            self.problem = f"the previous token and passwords stay in use: {error}"
            raise error

    def reload_credentials(self) -> ConfigurationError | None:
        """Read the token and the passwords again. Returns the error if they cannot be used."""
        try:
            self.load_credentials()
        except ConfigurationError as error:
            self.log.error(
                "reload failed; the previous token and passwords stay in use: {error}", error=error
            )
            return error
        if self._guard.credentials is not None:
            self.log.info("token and passwords reloaded")
        return None

    async def _reload_application(self) -> None:
        try:
            if self._application is None:
                raise ConfigurationError("the table was passed as an argument and cannot be imported again")
            router, lifespan = await self._load_router(self._application)
        except AppserverError as error:
            self.problem = f"reload failed; still serving the previous code: {error}"
            self.log.error("{problem}", problem=self.problem)
            raise
        self._dispatcher.router, self.problem = router, ""
        self._lifespans.adopt(lifespan, self._dispatcher.calls.split())
        self._site.forget()
        if self._dispatcher.jobs is not None:
            self._dispatcher.jobs.table_changed()
        self.log.info("application reloaded")
        log_notes(self.log, self._reactor, router, self._settings)

    async def _load_router(self, application: Application) -> tuple[Router, ReactorLifespan | None]:
        """
        Import the application again. New worker processes import it at the same time.

        @return: its table, and the lifespan of this process, which is entered already.
        """
        with self._executors.head_start():
            router = Router(*application.load_all(fresh=True))
            lifespan = await self._lifespans.prepare(router)
            try:
                await self._executors.reload(router)
            except AppserverError:
                if lifespan is not None:
                    await lifespan.leave()
                raise
        return router, lifespan


def log_notes(log: Logger, reactor: Any, router: Router, settings: Settings) -> None:
    """Log the warnings about a table, and which functions OpenAPI or assistants lack."""
    log_start_notes(log, reactor, router, why_jobless(settings))
    for note in () if settings.no_admin else OperationPlan(router.entries).notes():
        log.info("{note}", note=note)
    for note in () if settings.no_admin else tool_notes(router, settings.mcp):
        log.warn("{note}", note=note)
