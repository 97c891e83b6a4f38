"""What the jobs of a service promise, wherever they are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.routes import Route
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.jobs.documents import State


class IJobs(Interface):
    """The jobs of a service. All methods are called in the reactor's thread."""

    broker: Any = Attribute("The L{IBroker} of the store; C{None} if there is no store.")
    stored: bool = Attribute("Whether jobs are put into a store, from which a service performs them.")
    unavailable: str = Attribute("Why the service has no jobs; empty if it has jobs.")

    def take(pending: PendingCall) -> bool:
        """
        Make a job of a call that is about to be submitted. Send its address to the client, or the reply if
        the job ends while the client waits.

        @return: whether the call must not be submitted, because the job is performed as another call.
        @raise HTTPError: 503 if there are too many jobs.
        """

    async def put(call: Call, delay: float) -> str:
        """
        Make a job of a call that has its handler and groups.

        @param delay: seconds until it may begin.
        @return: the name of the job, when it is stored.
        @raise HTTPError: when it cannot be stored; 422 if its C{Idempotency-Key} was used for another call.
        """

    async def perform_at(
        name: str,
        call: Call,
        due: float,
        sleep_until: Callable[[float], Awaitable[None]],
        begun: Callable[[str, float], None],
    ) -> tuple[str, str]:
        """
        Perform a scheduled call when it is due, once on all hosts together. If an earlier call of the
        schedule has not ended, wait for its end instead.

        @param name: identifies the schedule.
        @param due: seconds since the epoch.
        @param sleep_until: waits for a time.
        @param begun: called with the name of the job and the time at which it was due, as soon as it is due.
        @return: the name and the state of the job, when it has ended.
        @raise AppserverError: when the call could not be performed.
        """

    def open() -> None:
        """
        Open the store.

        @raise ConfigurationError: when it cannot be used.
        """

    def begin() -> None:
        """Begin to perform jobs, because the executors have started."""

    def table_changed() -> None:
        """Perform jobs of the new table."""

    def rest() -> None:
        """Begin no further job."""

    def stop() -> Deferred[None]:
        """
        End the jobs that run, before the executors stop.

        @return: fires when their ends are stored.
        """

    def close() -> Deferred[None]:
        """
        Forget finished jobs that are only in memory, or close the store.

        @return: fires when no timer is left.
        """

    def unfinished(user: str) -> int:
        """
        Return how many jobs wait or run; of jobs in a store, those of all users, some seconds ago.
        """

    async def index(call: Call, after: str, limit: int, state: State, function: str) -> Reply:
        """
        Return a page of the jobs of this user without results, newest first, and their total.

        @param state: only jobs in this state; empty for all.
        @param function: only jobs of this function; empty for all.
        """

    async def show(job: str, call: Call) -> Reply:
        """Return a job: its state, its progress, and its result or error."""

    async def result(job: str, call: Call) -> Reply:
        """Return the reply that the call would have had; 404 until the job has finished."""

    async def retry(job: str, call: Call) -> Reply:
        """
        Repeat the call of a job that has failed or was cancelled, as a new job. If a job waits for its next
        attempt, begin this attempt now. Return the name of the job.

        @raise HTTPError: 409 if the job has another state; 410 if its call is not kept.
        """

    async def cancel(job: str, call: Call) -> Reply:
        """Cancel a job, or delete it if it has finished."""

    async def schedules() -> Reply:
        """Return the schedules, with the next time, the call that runs, and the last call of each."""


def job_patterns(jobs: Any) -> tuple[Route, ...]:
    """
    Return the table of the functions that show and cancel jobs.

    @param jobs: an L{IJobs}.
    """
    return (
        Route(r"/-/jobs", jobs.index, methods=("GET",)),
        Route(r"/-/jobs/(?P<job>)", jobs.show, methods=("GET",)),
        Route(r"/-/jobs/(?P<job>)", jobs.cancel, methods=("DELETE",)),
        Route(r"/-/jobs/(?P<job>)/result", jobs.result, methods=("GET",)),
        Route(r"/-/jobs/(?P<job>)/retry", jobs.retry, methods=("POST",)),
        Route(r"/-/schedules", jobs.schedules, methods=("GET",)),
    )
