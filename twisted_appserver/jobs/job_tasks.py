"""The jobs of tasks in queues, for the pages that show queues."""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted_appserver.jobs.documents import About, summary
from twisted_appserver.jobs.stored_call import decode_about, decode_facts


class JobTask(NamedTuple):
    """
    The job of a task.

    @ivar about: C{None} if the task cannot be read.
    """

    about: About | None

    def is_visible_to(self, user: str) -> bool:
        """Return whether a user may see it. Clients without a name see all jobs."""
        return not user or (self.about is not None and self.about.user == user)

    def document(self, name: str) -> dict[str, Any]:
        """Return the facts about the job."""
        if self.about is None:
            return {"job": name}
        return {**summary(name, self.about), "user": self.about.user}


def waiting_job(body: bytes, state: str) -> JobTask:
    """
    Return the job of a task that has not ended.

    @param state: the state of the task.
    """
    try:
        return JobTask(decode_about(body, "running" if state == "leased" else "waiting"))
    except ValueError:
        return JobTask(None)


def ended_job(result: bytes) -> JobTask:
    """
    Return the job of a task that has ended.

    @param result: at least the beginning of the stored result.
    """
    return JobTask(decode_facts(result))
