"""One background call that runs in this process: its state, its progress and its result."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.perform import JSON_LINES
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.stream import FAILED, Stream, whole_reply
from twisted_appserver.jobs.documents import (
    LONGEST_TRACEBACK,
    About,
    ShownAttempt,
    document,
    moment,
    shows_tracebacks,
)
from twisted_appserver.jobs.repeating import LARGEST_REPEATED
from twisted_appserver.jobs.retrying import error_of, short_error
from twisted_appserver.jobs.waiting_client import WaitingClient

CANCELLED = "the job was cancelled"
MOST_ATTEMPTS = 20  # whose failures are kept


class Job:
    """
    A call that became a job.

    @param name: part of its address; hard to guess.
    @param keep: called with the job and the number of bytes that it wants to keep; returns whether there is
        room.
    @param ended: called with the job when it has finished.
    @ivar key: the queue of its route and its C{Idempotency-Key}, if it has one.
    @ivar fingerprint: the fingerprint of the request, if it has such a key.
    @ivar clients: who waits for its end: the client that made it, and clients that sent its key again.
    @ivar call: the call, for another attempt; C{None} if there will be no other attempt.
    @ivar repeatable: the call, for a client that wants to repeat it; C{None} if it is too large.
    @ivar attempts: the last attempts that have failed.
    @ivar failures: how many attempts have failed.
    @ivar items: how many items a generator has yielded.
    @ivar progress: the last item, as JSON.
    @ivar lines: whether the items are JSON, and not parts of a Reply that the function made itself.
    @ivar reply: the reply; C{None} until the job has finished.
    @ivar size: the bytes that it keeps, as counted by C{keep}.
    """

    def __init__(
        self,
        name: str,
        pending: PendingCall,
        dispatcher: Dispatcher,
        keep: Callable[[Job, int], bool],
        ended: Callable[[Job], None],
    ) -> None:
        self._pending: PendingCall | None = pending  # until it has finished: the call has the request's body
        self.call: Call | None = pending.call
        self.clients: list[WaitingClient] = []
        self.key: tuple[str, str] | None = None
        self.fingerprint = ""
        self._dispatcher, self._keep, self._ended = dispatcher, keep, ended
        self.name = name
        call = pending.call
        self.user, self.function, self._request_id = call.user, call.handler.name, call.request_id
        self.created = datetime.now(UTC)
        self.items, self.progress = 0, b"null"
        self._parts: list[bytes] = []  # the body so far, if the function returned a Reply
        self.reply: Reply | None = None
        self.lines = self._cancelled = False
        self.size = 0
        self.attempts: list[ShownAttempt] = []
        self.failures, self._began = 0, call.arrived
        self.repeatable: Call | None = None
        self._attempt, self._seconds = 1, 0.0  # the last attempt, and how long it took
        self._target = call.method, call.path, call.query
        self._end = 0.0  # when it ended
        self._note_call(call)

    def _note_call(self, call: Call) -> None:
        self.repeatable = call if len(call.body) <= LARGEST_REPEATED else None

    def add_client(self, client: WaitingClient) -> None:
        """Send the reply if the job ends while the client waits, and the address of the job otherwise."""
        if not client.wait:
            client.accept(self.name)
        elif self.reply is not None:
            client.finish(self.reply)
        else:
            self.clients.append(client)
            client.begin(self.name)

    def answer_clients(self, reply: Reply) -> bool:
        """Send the last reply to all clients. Return whether one of them still waited."""
        clients, self.clients = self.clients, []
        return True in [client.finish(reply) for client in clients]

    def answer(self, _: Call, reply: Reply) -> None:
        """Receive the reply, or its beginning."""
        headers = tuple(
            (name, text) for name, text in reply.headers if not name.startswith("access-control-")
        )
        reply = replace(reply, headers=headers)  # The CORS headers belong to the response that shows the job.
        if isinstance(reply.body, Stream):
            self.lines = ("content-type", JSON_LINES) in reply.headers
            if self.call is not None and self.call.handler.retry is None:
                self.call = None  # Its body may be large, and the stream may last long.
            reply.body.takes_error = True
            reply.body.begin(self._item, lambda failure: self._finish(reply, failure))
        else:
            self._settle(reply)

    def _item(self, data: bytes) -> None:
        if self.reply is not None:
            return
        self.items += 1
        if not self._keep(self, len(data) if self.lines else self.size + len(data)):
            pending = self._pending
            assert pending is not None
            self._too_large()
            self._dispatcher.cancel(pending)
        elif self.lines:
            self.progress = data.rstrip()
        else:
            self._parts.append(data)

    def _finish(self, reply: Reply, failure: str) -> None:
        if failure and reply.body.error is None:
            self.fail(500, FAILED, reply.body.fault)
        else:
            self._settle(whole_reply(reply, self.progress if self.lines else b"".join(self._parts)))

    def _settle(self, reply: Reply) -> None:
        if self.reply is not None:
            return
        if self._keep(self, len(reply.body)):
            self._over(reply)
        else:
            self._too_large()

    def _too_large(self) -> None:
        self.progress = b"null"
        self.fail(507, "the result does not fit into --max-job-bytes")

    def fail(self, status: int, detail: str, traceback: str = "") -> None:
        """End the job with a problem document, unless it has ended."""
        if self.reply is None:
            self._keep(self, len(self.progress) if self.lines else 0)
            reply = problem_reply(HTTPError(status, detail), self._request_id)
            self._over(replace(reply, traceback=traceback))

    def _over(self, reply: Reply) -> None:
        self._end = self._dispatcher.reactor.seconds()
        if self._pending is not None:
            self._seconds = self._end - self._began
        body = b"" if self.repeatable is None else self.repeatable.body
        if reply.status < 400 or (body and not self._keep(self, self.size + len(body))):
            self.repeatable = None
        elif self.repeatable is not None:  # Without its handler, the code of an earlier table can be freed.
            self.repeatable = replace(self.repeatable, handler=None)
        self.reply, self._pending = reply, None
        self._parts.clear()
        self._ended(self)

    def wait(self) -> None:
        """Wait before the first attempt, which L{resume} begins."""
        self._pending, self._attempt = None, 0

    def add_failure(self, error: str, traceback: str) -> None:
        """Record that the attempt that has just ended has failed."""
        self.failures += 1
        traceback = traceback[-LONGEST_TRACEBACK:]
        attempt = ShownAttempt(moment(self._began), self._seconds, "failed", error, traceback)
        self.attempts = [*self.attempts, attempt][-MOST_ATTEMPTS:]

    def rest(self) -> None:
        """Begin anew after an attempt that has failed. L{resume} begins the next one."""
        self._keep(self, 0)
        self.reply, self.items, self.progress, self.lines = None, 0, b"null", False

    @property
    def rests(self) -> bool:
        """Whether it waits for its next attempt."""
        return self._pending is None and self.reply is None

    def resume(self, pending: PendingCall) -> None:
        """Begin the next attempt."""
        self._pending, pending.answer = pending, self.answer
        self._began, self._attempt = pending.call.arrived, self.failures + 1
        self._note_call(pending.call)

    def cancel(self) -> None:
        """Cancel it. A thread continues until its generator yields next; a worker process is killed."""
        self._cancelled = True
        self.abandon()
        self.fail(410, CANCELLED)

    def abandon(self) -> None:
        """Cancel the call. The job does not end."""
        if self._pending is not None:
            self._dispatcher.cancel(self._pending, kill=True)

    @property
    def state(self) -> str:
        """C{waiting}, C{running}, C{done}, C{failed} or C{cancelled}."""
        if self._cancelled:
            return "cancelled"
        if self.reply is not None:
            return "done" if self.reply.status < 400 else "failed"
        pending = self._pending
        if pending is None:
            return "waiting"
        running = pending.stream is not None or pending in pending.executor.calls()[0]
        return "running" if running else "waiting"

    def about(self) -> About:
        """Return the facts about the job."""
        about = About(self.user, self.function, self._request_id, self.created, self.state, self.items)
        about.attempt, about.seconds = self._attempt, self._seconds
        about.method, about.path, about.query = self._target
        if self._attempt and (about.state != "waiting" or self.rests):
            about.began = moment(self._began)
        if self.reply is not None:
            about.ended = moment(self._end)
        if about.state == "running":
            about.seconds = self._dispatcher.reactor.seconds() - self._began
        if self.reply is not None:
            about.error = error_of(self.reply) if self.reply.status >= 400 else ""
        elif self.attempts:
            about.error = self.attempts[-1].error
        about.error = short_error(about.error)
        return about

    def document(self) -> dict[str, Any]:
        """Return the job with its progress, and its result or error."""
        attempts = self.attempts
        if not shows_tracebacks(self._dispatcher):
            attempts = [replace(each, traceback="") for each in attempts]
        return document(self.name, self.about(), self.reply, self.shown_progress, attempts)

    @property
    def shown_progress(self) -> bytes:
        """Its progress, as JSON; empty if the function is not a generator."""
        return self.progress if self.lines else b""
