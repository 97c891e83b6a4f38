"""One stored job that this process has leased."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError
from twisted_appserver.jobs.documents import About, ShownAttempt, moment
from twisted_appserver.jobs.job import Job
from twisted_appserver.jobs.retrying import error_of, has_failed
from twisted_appserver.jobs.stored_call import StoredCall, StoredReply, decode_call, encode_end
from twisted_appserver.queue.attempt import Attempt, TaskDetails
from twisted_appserver.queue.queued_task import QueuedTask

DIED = "the process died while the job was running"
REMOVED = "the service has no route any more that performs this job"
DEATHS = 5  # of an idempotent route without a retry: a call that kills each process must end some time
WITHOUT_CALL = (DIED, REMOVED)  # errors of jobs that ended without a call of their function
NOT_ATTEMPTS = ("released", "done")  # reasons why an attempt has ended that are no failures


class Run:
    """
    @ivar queue: the name of the queue of its route.
    @ivar place: the arguments by which a broker finds the lease. A local broker changes the task when it
        leases it again.
    @ivar job: the job; C{None} until its call has been handed to an executor.
    @ivar handler: the handler of its route; C{None} until then.
    @ivar failures: how many earlier attempts have failed.
    @ivar ending: whether its end is being stored.
    @ivar lost: whether the lease is lost, so that the end must not be stored.
    @ivar slots: where the call has a place, or waits for one; C{None} afterwards.
    @ivar began: when its call was handed to an executor.
    """

    def __init__(self, queue: str, task: QueuedTask) -> None:
        self.queue, self.task = queue, task
        self.place = queue, task.number, task.deliveries
        self.stored: StoredCall = decode_call(task.body)
        self.job: Job | None = None
        self.handler: Any = None
        self.slots: Any = None
        self.failures, self.began = 0, 0.0
        self.ending = self.lost = False

    @property
    def has_begun(self) -> bool:
        """Whether the function has begun, as far as is known."""
        return self.job is not None and self.job.state != "waiting"

    @property
    def progress(self) -> bytes:
        """
        The last item of a generator, as JSON; empty if the function is not a generator or has not begun.
        """
        return self.job.progress if self.job is not None and self.job.lines else b""

    @property
    def has_failed(self) -> bool:
        """Whether its function was called and has failed."""
        reply = None if self.job is None else self.job.reply
        return reply is not None and has_failed(reply)

    def about(self) -> About:
        """Return the facts about the job."""
        stored = self.stored
        if self.job is None:
            return About(
                stored.user, stored.function, stored.request_id, stored.created,
                fingerprint=stored.fingerprint, attempt=self.failures,
                method=stored.method, path=stored.path, query=stored.query,
            )  # fmt: skip
        about = self._about(self.job)
        if self.job.reply is not None:  # Its end is not stored yet, and could be lost.
            about.state = "running"
        return about

    def problem(self, status: int, detail: str) -> bytes:
        """Return the end of a job that fails without a call of its function."""
        reply = problem_reply(HTTPError(status, detail), self.stored.request_id)
        about = self.about()
        about.state = "failed"
        return encode_end(about, reply, call=self.task.body)

    def end(self) -> bytes:
        """Return the end of the job, which has its reply."""
        job = self.job
        assert job is not None
        assert job.reply is not None
        return encode_end(self._about(job), job.reply, self.progress, self.task.body)

    def _about(self, job: Job) -> About:
        about = job.about()
        about.attempt += self.failures
        about.fingerprint = self.stored.fingerprint
        return about


def may_repeat(handler: Any) -> bool:
    """Return whether a call may be performed again if an earlier attempt was interrupted."""
    return handler.idempotent or handler.retry is not None


def is_last(handler: Any, details: TaskDetails | None) -> bool:
    """Return whether a task must not be performed again, because its process has died."""
    attempts = details.attempts if details is not None else []
    died = sum(each.reason == "expired" or each.error == DIED for each in attempts)
    if handler.retry is not None and handler.retry.attempts:
        return died > 0 and failures(details) >= handler.retry.attempts
    return died > 0 and (not may_repeat(handler) or (handler.retry is None and died >= DEATHS))


def failures(details: TaskDetails | None) -> int:
    """
    Return how many attempts of a task have failed, because of a death or of an error. Attempts that are not
    kept any more count as failures.
    """
    if details is None or not details.attempts:
        return 0
    forgotten = details.attempts[0].attempt - 1
    return forgotten + sum(each.reason not in NOT_ATTEMPTS for each in details.attempts)


def attempts_of(details: TaskDetails, end: StoredReply | None) -> list[Attempt]:
    """
    Return the attempts of a job. The queue records the last attempt as done, even if it has failed, because
    its task has ended. A local store records a death as a failure, other stores as the end of a lease.

    @param end: the end of the job, if it has ended.
    """
    error = error_of(end.reply) if end is not None and has_failed(end.reply) else ""
    attempts = []
    for each in details.attempts:
        if each.error == DIED or (each.reason == "expired" and not each.error):
            each = replace(each, reason="expired", error=DIED)
        elif each.reason == "done" and end is not None and error:
            if error.endswith(WITHOUT_CALL):
                continue
            each = replace(each, reason="failed", error=error, traceback=end.traceback)
        attempts.append(each)
    return attempts


def shown_attempts(details: TaskDetails, end: StoredReply | None, tracebacks: bool) -> list[ShownAttempt]:
    """
    Return the attempts of a job that have failed. Arguments are as for L{attempts_of}.

    @param tracebacks: whether clients may see tracebacks.
    """
    return [
        ShownAttempt(
            moment(each.began), each.seconds, each.reason, each.error, each.traceback if tracebacks else ""
        )
        for each in attempts_of(details, end)
        if each.reason != "done"
    ]
