"""A service without jobs: each request that needs one gets the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.jobs.documents import LISTED, Limit, State
from twisted_appserver.jobs.interface import IJobs


@implementer(IJobs)
class NoJobs:
    """
    Refuse jobs with 501. A client that needs a job must not get another response instead: with an
    C{Idempotency-Key}, it may repeat its request, and relies on it being performed once.

    @param reason: why there are no jobs, and how to have some.
    """

    broker: Any = None
    stored = False

    def __init__(self, reason: str) -> None:
        self.unavailable = reason

    def _refuse(self) -> NoReturn:
        raise HTTPError(501, self.unavailable)

    def take(self, pending: PendingCall) -> bool:
        self._refuse()

    async def put(self, call: Call, delay: float) -> str:
        self._refuse()

    async def perform_at(
        self,
        name: str,
        call: Call,
        due: float,
        sleep_until: Callable[[float], Awaitable[None]],
        begun: Callable[[str, float], None],
    ) -> tuple[str, str]:
        self._refuse()

    def open(self) -> None:
        """Do nothing."""

    def begin(self) -> None:
        """Do nothing: no call is scheduled."""

    def table_changed(self) -> None:
        """Do nothing."""

    def rest(self) -> None:
        """Do nothing."""

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        return succeed(None)

    def unfinished(self, user: str) -> int:
        return 0

    async def index(
        self, call: Call, after: str = "", limit: Limit = LISTED, state: State = "", function: str = ""
    ) -> Reply:
        self._refuse()

    async def show(self, job: str, call: Call) -> Reply:
        self._refuse()

    async def result(self, job: str, call: Call) -> Reply:
        self._refuse()

    async def retry(self, job: str, call: Call) -> Reply:
        self._refuse()

    async def cancel(self, job: str, call: Call) -> Reply:
        self._refuse()

    async def schedules(self) -> Reply:
        self._refuse()
