"""One background call: its state, its progress and its result."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from os import urandom
from typing import Any

import msgspec
from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.perform import JSON_LINES
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.stream import Stream

PROBLEM = "application/problem+json"
JSON = ("application/json", PROBLEM)


class Job:
    """
    A call that became a job.

    @param keep: called with the job and the number of bytes that it wants to keep; returns whether there is
        room.
    @param ended: called with the job when it has finished.
    @ivar name: part of its address; hard to guess.
    @ivar items: how many items a generator has yielded.
    @ivar progress: the last item, as JSON.
    @ivar lines: whether the items are JSON, and not parts of a Reply that the function made itself.
    @ivar reply: the reply; C{None} until the job has finished.
    @ivar size: the bytes that it keeps, as counted by C{keep}.
    """

    def __init__(
        self,
        pending: PendingCall,
        dispatcher: Dispatcher,
        keep: Callable[[Job, int], bool],
        ended: Callable[[Job], None],
    ) -> None:
        self._pending: PendingCall | None = pending  # until it has finished: the call has the request's body
        self._dispatcher, self._keep, self._ended = dispatcher, keep, ended
        self.name = urandom(16).hex()
        call = pending.call
        self.user, self.function, self._request_id = call.user, call.handler.name, call.request_id
        self.created = datetime.now(UTC)
        self.items, self.progress = 0, b"null"
        self._parts: list[bytes] = []  # the body so far, if the function returned a Reply
        self.reply: Reply | None = None
        self.lines = self._cancelled = False
        self.size = 0

    def answer(self, _: Call, reply: Reply) -> None:
        """Receive the reply, or its beginning."""
        headers = tuple(
            (name, text) for name, text in reply.headers if not name.startswith("access-control-")
        )
        reply = replace(reply, headers=headers)  # The CORS headers belong to the response that shows the job.
        if isinstance(reply.body, Stream):
            self.lines = ("content-type", JSON_LINES) in reply.headers
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
        if failure and reply.body.error is not None:
            self._settle(replace(reply.body.error, traceback=""))
        elif failure:
            self._fail(500, "the function failed; the log has the reason, with this instance")
        else:  # The last item of a generator is its result; a Reply in parts is joined.
            body = self.progress if self.lines else b"".join(self._parts)
            kinds = {JSON_LINES: JSON[0]}
            headers = tuple((name, kinds.get(value, value)) for name, value in reply.headers)
            self._settle(Reply(body, reply.status, headers))

    def _settle(self, reply: Reply) -> None:
        if self.reply is not None:
            return
        if self._keep(self, len(reply.body)):
            self._over(reply)
        else:
            self._too_large()

    def _too_large(self) -> None:
        self.progress = b"null"
        self._fail(507, "the result does not fit into --max-job-bytes")

    def _fail(self, status: int, detail: str) -> None:
        if self.reply is None:
            self._keep(self, len(self.progress) if self.lines else 0)
            self._over(problem_reply(HTTPError(status, detail), self._request_id))

    def _over(self, reply: Reply) -> None:
        self.reply, self._pending = reply, None
        self._parts.clear()
        self._ended(self)

    def cancel(self) -> None:
        """Cancel it. A thread continues until its generator yields next; a worker process is killed."""
        pending, self._cancelled = self._pending, True
        assert pending is not None
        self._dispatcher.cancel(pending, kill=True)
        self._fail(410, "the job was cancelled")

    @property
    def state(self) -> str:
        """C{waiting}, C{running}, C{done}, C{failed} or C{cancelled}."""
        if self._cancelled:
            return "cancelled"
        if self.reply is not None:
            return "done" if self.reply.status < 400 else "failed"
        pending = self._pending
        assert pending is not None
        running = pending.stream is not None or pending in pending.executor.calls()[0]
        return "running" if running else "waiting"

    def summary(self) -> dict[str, Any]:
        """Return the job without its progress and its result."""
        return {
            "job": self.name,
            "function": self.function,
            "state": self.state,
            "created": self.created,
            "items": self.items,
        }

    def document(self) -> dict[str, Any]:
        """Return the job with its progress, and its result or error."""
        shown = self.summary()
        if self.lines:
            shown["progress"] = msgspec.Raw(self.progress)
        if self.reply is not None:
            status, kind = self.reply.status, dict(self.reply.headers).get("content-type", JSON[0])
            if status >= 400 and kind != PROBLEM:  # a reply that the function made itself
                said = HTTPError(status, "the function says why in its answer, the result of this job")
                shown["error"] = msgspec.Raw(problem_reply(said, self._request_id).body)
            elif kind in JSON:
                shown["result" if status < 400 else "error"] = msgspec.Raw(self.reply.body or b"null")
        return shown
