"""
The queues of a service and their tasks as JSON, and requests that change them.

In an application server with a store, these are the queues of its jobs. With passwords, users then see and
change only the tasks of their own jobs, and no whole queue; the bearer of the token may do everything.
"""

from __future__ import annotations

from time import time
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace
from twisted.internet.defer import Deferred, gatherResults

from twisted_appserver.admin.queue_groups import count_groups
from twisted_appserver.admin.queue_history import QueueHistory
from twisted_appserver.admin.store_errors import ask
from twisted_appserver.admin.task_edits import edited_task
from twisted_appserver.admin.task_excerpts import excerpt_of
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.routes import Route
from twisted_appserver.errors import HTTPError
from twisted_appserver.jobs.documents import Limit, shown, shows_tracebacks
from twisted_appserver.jobs.job_tasks import JobTask, ended_job, waiting_job
from twisted_appserver.jobs.route_queues import tag_of
from twisted_appserver.jobs.run import attempts_of
from twisted_appserver.jobs.stored_call import FACTS, decode_end, without_traceback
from twisted_appserver.queue.attempt import TaskDetails
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.paging import NEWEST, START, Place, read_place, write_place
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.ready_tasks import ready_place
from twisted_appserver.queue.same_errors import kick_same_error
from twisted_appserver.queue.task_documents import details_document, peeked_document
from twisted_appserver.queue.task_ids import task_id, task_number
from twisted_appserver.queue.task_result import TaskResult

State = Literal["ready", "delayed", "leased", "held", "buried", "ended"]


class Queues:
    """
    @param service: an L{AppService}.
    @param history: the history of its queues.
    """

    def __init__(self, service: Any, history: QueueHistory) -> None:
        self._service, self._history = service, history

    def _shown(self) -> tuple[IBroker | None, str]:
        shown_queues: tuple[IBroker | None, str] = self._service.shown_queues()
        return shown_queues

    def _broker(self, queue: str) -> IBroker:
        """
        Return the broker of a queue.

        @raise HTTPError: 404 if the service does not show such a queue.
        """
        broker, prefix = self._shown()
        if broker is None:
            raise HTTPError(404, "this service has no queues; with --store, it has the queues of its jobs")
        if not queue.startswith(prefix):
            raise HTTPError(404, f"the queues of jobs begin with {prefix}, unlike {queue}")
        return broker

    async def index(self, call: Call, after: str = "", limit: Limit = 100) -> Reply:
        """Return the queues with their figures and options, sorted by name, beginning after a name."""
        broker, prefix = self._shown()
        self._history.keep_recording()
        names = [] if broker is None else sorted(await ask(broker.qsizes(None)))
        names = [name for name in names if name.startswith(prefix)]
        page = [name for name in names if name > after][:limit]
        found = await gatherResults(
            [Deferred.fromCoroutine(self._figures(broker, name)) for name in page], consumeErrors=True
        )
        more = page and page[-1] != names[-1]
        return shown({"queues": found, "total": len(names), "next": page[-1] if more else None})

    async def _figures(self, broker: Any, queue: str) -> dict[str, Any]:
        stats, options = await ask(broker.stats(queue)), await ask(broker.config(queue))
        return {"queue": queue, **stats, "rate": self._history.rate(queue), "options": options}

    async def queue(self, queue: str) -> Reply:
        """Return the figures and the options of a queue. An unknown queue is an empty one."""
        broker = self._broker(queue)
        self._history.keep_recording()
        return shown(await self._figures(broker, queue))

    async def history(self, queue: str, since: float = 0.0) -> Reply:
        """
        Return the depth and the rate of a queue during the last ten minutes.

        @param since: only records after this time, in seconds since the epoch.
        """
        self._broker(queue)
        self._history.keep_recording()
        return shown(self._history.document(queue, since))

    async def groups(self, call: Call, queue: str) -> Reply:
        """Return how many tasks the groups of a queue have."""

        def is_visible(task: QueuedTask, state: str) -> bool:
            job = self._job(queue, task, state)
            return job is None or job.is_visible_to(call.user)

        return shown(await count_groups(self._broker(queue), queue, is_visible))

    # ---- tasks ----

    async def tasks(
        self,
        call: Call,
        queue: str,
        state: State = "ready",
        after: str = "",
        limit: Limit = 50,
        excerpts: bool = False,
    ) -> Reply:
        """
        Return the tasks of a queue in a state: ready ones in the order in which they are handed out, ended
        ones beginning with the last one, others in the order of their arrival.

        @param after: the member C{next} of the page before.
        @param excerpts: whether tasks have an C{excerpt} of their fields instead of the fields.
        """
        broker = self._broker(queue)
        try:
            place = read_place(after) if after else NEWEST if state == "ended" else START
        except ValueError:
            raise HTTPError(422, "after must be the member next of the page before") from None
        if state == "ended":
            tasks, last = await self._ended(call, broker, queue, place, limit)
        else:
            tasks, last = await self._waiting(call, broker, queue, state, place, limit)
            if excerpts:
                for task in tasks:
                    task["excerpt"] = excerpt_of(bytes(task.pop("task")), self._has_jobs)
        following = None if last is None else write_place(last)
        return shown({"queue": queue, "state": state, "now": time(), "tasks": tasks, "next": following})

    async def _waiting(
        self, call: Call, broker: IBroker, queue: str, state: str, place: Place, limit: int
    ) -> tuple[list[dict[str, Any]], Place | None]:
        """Return the documents of a page, and the place of its last task if there may be a further page."""
        found = await ask(broker.peek(queue, limit, state, place))
        failed = [task.number for task in found if task.attempts]
        errors = await ask(broker.errors(queue, failed)) if failed else {}
        numbers = [task.number for task in found if state == "leased"]
        progress = await ask(broker.progress(queue, numbers)) if numbers else {}
        tasks = []
        for task in found:
            job = self._job(queue, task, state)
            if job is None or job.is_visible_to(call.user):
                name = self._id(broker, queue, task.number)
                number = task.number
                document = peeked_document(task, name, errors.get(number, ""), progress.get(number, b""))
                document |= {"began": task.began, "by": task.by} if task.lease else {}
                tasks.append(document | self._about(queue, name, job))
        if len(found) < limit:
            return tasks, None
        kind = (await ask(broker.config(queue))).kind if state == "ready" else "fifo"
        return tasks, ready_place(found[-1], kind)

    async def _ended(
        self, call: Call, broker: IBroker, queue: str, place: Place, limit: int
    ) -> tuple[list[dict[str, Any]], Place | None]:
        found = await ask(broker.ended(queue, limit, FACTS if self._has_jobs else 0, place))
        tasks = []
        for result in found:
            job = self._job(queue, result, "")
            if job is None or job.is_visible_to(call.user):
                name = self._id(broker, queue, result.number)
                document = {"task_id": name, "state": result.state, "ended": result.ended}
                document |= {"error": result.error} if result.error else {}
                tasks.append(document | self._about(queue, name, job))
        more = len(found) == limit
        return tasks, Place(found[-1].ended, "", found[-1].number) if more else None

    async def task(self, call: Call, queue: str, task: str) -> Reply:
        """
        Return all that is known of a task: its state, its attempts, its result.

        The attempts of a job contain tracebacks only if clients may see them.
        """
        broker = self._broker(queue)
        details, job = await self._find(call, broker, queue, task)
        number = details.result.number
        if self._has_jobs:
            end = decode_end(details.result.result)[1] if details.result.state == "done" else None
            details = replace(details, attempts=attempts_of(details, end))
        progress = await ask(broker.progress(queue, [number]))
        is_hidden = self._has_jobs and not shows_tracebacks(self._service.dispatcher)
        if is_hidden:
            shown_result = replace(details.result, result=without_traceback(details.result.result))
            details = replace(details, result=shown_result)
        document = details_document(queue, task, details, progress.get(number, b""))
        if is_hidden:
            for attempt in document["attempts"]:
                attempt.pop("traceback", None)
        document = {"queue": document.pop("worker"), "now": time(), **document}
        return shown(document | self._about(queue, task, job))

    async def _find(
        self, call: Call, broker: IBroker, queue: str, task: str
    ) -> tuple[TaskDetails, JobTask | None]:
        """
        @raise HTTPError: 404 if there is no such task, or it is the job of another user.
        """
        number = task_number(broker.secret, queue, task)
        details = await ask(broker.show(queue, number)) if number else None
        job = None
        if details is not None:
            job = self._job(queue, details.task or details.result, details.result.state)
        if details is None or (job is not None and not job.is_visible_to(call.user)):
            raise HTTPError(404, "no such task; it may have ended")
        return details, job

    @property
    def _has_jobs(self) -> bool:
        return bool(self._shown()[1])

    def _job(self, queue: str, task: QueuedTask | TaskResult, state: str) -> JobTask | None:
        """Return the job of a task; C{None} if the queues of the service have other tasks."""
        if not self._has_jobs:
            return None
        return ended_job(task.result) if isinstance(task, TaskResult) else waiting_job(task.body, state)

    def _id(self, broker: IBroker, queue: str, number: int) -> str:
        return task_id(broker.secret, queue, number)

    def _about(self, queue: str, task: str, job: JobTask | None) -> dict[str, Any]:
        return {} if job is None else {"job": job.document(_job_name(queue, task))}

    # ---- changes ----

    async def change_task(self, call: Call, queue: str, task: str, action: str) -> Reply:
        """
        Change a task: C{kick} makes it ready, C{bury} puts it aside, C{release} ends its lease, C{drop} and
        C{cancel} remove it. A cancelled job has an end, and a dropped job has none.
        """
        broker = self._broker(queue)
        details, job = await self._find(call, broker, queue, task)
        number, state = details.result.number, details.result.state
        if action == "cancel" and job is not None:
            await self._service.dispatcher.jobs.cancel(_job_name(queue, task), call)
        elif await self._act(broker, queue, number, action) is None:
            raise HTTPError(409, f"the task is {state}; its state does not allow to {action} it")
        after = await ask(broker.show(queue, number))
        return shown({"queue": queue, "task_id": task, "state": after.result.state if after else "dropped"})

    async def edit_task(self, call: Call, queue: str, task: str) -> Reply:
        """
        Replace the fields of a task, or the body and the query string of the call of a job, and make it
        ready.
        """
        broker = self._broker(queue)
        details, _ = await self._find(call, broker, queue, task)
        number, found = details.result.number, details.task
        edited = None
        if found is not None:
            body = edited_task(call.body, found.body, self._has_jobs)
            edited = await ask(broker.edit(queue, number, body))
        if edited is None:
            state = details.result.state if found is None else "leased"
            raise HTTPError(409, f"the task is {state}; only a task that waits or is buried can be edited")
        after = await ask(broker.show(queue, number))
        return shown({"queue": queue, "task_id": task, "state": after.result.state if after else "unknown"})

    async def _act(self, broker: IBroker, queue: str, number: int, action: str) -> QueuedTask | None:
        if action == "kick":
            return await ask(broker.kick_task(queue, number))
        if action == "bury":
            return await ask(broker.bury(queue, number, 0))
        if action == "release":
            return await ask(broker.release(queue, number, 0.0, 0))
        return await ask(broker.drop(queue, number, b""))

    async def change_queue(
        self,
        call: Call,
        queue: str,
        action: str,
        count: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000,
        error: str | None = None,
    ) -> Reply:
        """
        Change a queue: C{pause} and C{resume} it, C{kick} buried tasks, C{purge} waiting ones, or C{delete}
        it.

        @param count: how many tasks are kicked at most.
        @param error: only tasks whose last attempt has this error are kicked; empty for tasks without one.
        """
        broker = self._broker(queue)
        if self._has_jobs and call.user:
            raise HTTPError(403, "only the bearer of the token may change a whole queue of jobs")
        document: dict[str, Any] = {"queue": queue}
        if action in ("pause", "resume"):
            await ask(broker.change(queue, {"paused": action == "pause"}))
            document["paused"] = action == "pause"
        elif action == "kick":
            if error is None:
                document["kicked"] = await ask(broker.kick(queue, count, ""))
            else:
                document["kicked"] = await ask(kick_same_error(broker, queue, error, count))
        elif action == "purge":
            document["purged"] = await ask(broker.purge(queue, ""))
        else:
            await ask(broker.delete(queue))
        return shown(document)


def _job_name(queue: str, task: str) -> str:
    return f"{tag_of(queue)}-{task}"


def queue_patterns(queues: Queues) -> tuple[Route, ...]:
    """Return the table of the requests about single queues of a service."""
    one = r"/-/queues/(?P<queue>)"
    return (
        Route(one, queues.queue, methods=("GET",)),
        Route(rf"{one}/(?P<action>pause|resume|kick|purge|delete)", queues.change_queue, methods=("POST",)),
        Route(rf"{one}/history", queues.history, methods=("GET",)),
        Route(rf"{one}/groups", queues.groups, methods=("GET",)),
        Route(rf"{one}/tasks", queues.tasks, methods=("GET",)),
        Route(rf"{one}/tasks/(?P<task>)", queues.task, methods=("GET",)),
        Route(rf"{one}/tasks/(?P<task>)/edit", queues.edit_task, methods=("POST",)),
        Route(
            rf"{one}/tasks/(?P<task>)/(?P<action>kick|bury|release|drop|cancel)",
            queues.change_task,
            methods=("POST",),
        ),
    )
