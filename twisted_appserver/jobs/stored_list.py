"""Finds the jobs in a store, with the facts about each of them."""

from __future__ import annotations

from collections.abc import Callable

from twisted_appserver.jobs.documents import About, Listing, moment
from twisted_appserver.jobs.performer import Performer
from twisted_appserver.jobs.retrying import short_error
from twisted_appserver.jobs.route_queues import PREFIX, SCHEDULED, tag_of
from twisted_appserver.jobs.stored_call import FACTS, decode_about, decode_end, decode_facts
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_ids import task_id

OPEN = ("ready", "delayed", "leased", "held")  # states of tasks whose jobs wait or run


class StoredList:
    """
    @param performer: performs the jobs that run here.
    @param most: maximum number of jobs of a queue in each state.
    @param wall: returns the seconds since the epoch.
    """

    def __init__(self, broker: IBroker, performer: Performer, most: int, wall: Callable[[], float]) -> None:
        self._broker, self._performer, self._most, self._wall = broker, performer, most, wall

    def name_of(self, queue: str, number: int) -> str:
        """Return the name of a job. Nobody can guess it."""
        return f"{tag_of(queue)}-{task_id(self._broker.secret, queue, number)}"

    async def queues(self) -> list[str]:
        """Return the names of all queues that have jobs, also of routes that other hosts have."""
        return [name for name in await self._broker.qsizes(None) if name.startswith(PREFIX)]

    def unfinished(self) -> int:
        """Return how many jobs wait or run, of all users, some seconds ago. Schedules do not count."""
        figures = self._broker.snapshot() if self._broker.started else {}
        return sum(
            sum(each[state] for state in OPEN)
            for name, each in figures.items()
            if name.startswith(PREFIX) and not name.endswith(SCHEDULED)
        )

    async def all(self) -> list[Listing]:
        """Return all jobs, newest first."""
        found: list[tuple[int, Listing]] = []
        for queue in await self.queues():
            for number, about in await self._jobs_of(queue):
                run = self._performer.runs.get((queue, number))
                progress = b"" if run is None else run.progress
                found.append((number, (self.name_of(queue, number), about, progress)))
        found.sort(key=lambda each: each[0], reverse=True)
        return [each for _, each in found]

    async def _jobs_of(self, queue: str) -> list[tuple[int, About]]:
        """Return the numbers and facts of all jobs of a queue."""
        found: list[tuple[int, About]] = []
        for state in (*OPEN, "buried"):
            tasks = await self._broker.peek(queue, self._most, state)
            failed = [task.number for task in tasks if task.attempts]
            errors = await self._broker.errors(queue, failed) if failed else {}
            for task in tasks:
                about = self.about(queue, task, state)
                about.error = about.error or short_error(errors.get(task.number, ""))
                found.append((task.number, about))
        for ended in await self._broker.ended(queue, self._most, FACTS):
            facts = decode_facts(ended.result)
            if facts is None and (details := await self._broker.show(queue, ended.number)) is not None:
                facts = decode_end(details.result.result)[0]
            if facts is not None:
                found.append((ended.number, facts))
        return found

    def about(self, queue: str, task: QueuedTask, state: str) -> About:
        """Return the facts about a job that has not ended."""
        run = self._performer.runs.get((queue, task.number))
        if run is not None and state == "leased":
            return run.about()
        about = decode_about(task.body, "running" if state == "leased" else "waiting")
        about.attempt = task.attempts + (state == "leased")
        about.seconds = max(0.0, self._wall() - task.began) if state == "leased" else 0.0
        about.began = moment(task.began) if task.began else None
        return about
