"""One call of a tool: it is dispatched like a request for its function, and can be followed and cancelled."""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.function_calls import make_function_call
from twisted_appserver.core.perform import JSON_LINES
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.stream import FAILED, Stream, whole_reply

# Headers of the message that do not describe the call of the function: its body is another one, its result is
# always JSON, and it is no job.
OF_MESSAGE = (b"accept", b"accept-encoding", b"idempotency-key", b"last-event-id", b"prefer", b"te", b"range")
PREFIXES = (b"content-", b"mcp-", b"if-", b"transfer-")
LARGEST = 1024 * 1024  # bytes of a Reply in parts; the SDK for Python reads no larger event by default
CANCELLED = Reply(b"", 499)


def function_call(entry: Any, variables: dict[str, Any], message: Call) -> Call:
    """
    Return the call of a function for a message of a client. It has the user, the client and the headers of
    the message.

    @param variables: the arguments of the tool.
    @raise JobError: when the function does not take these variables.
    """
    call = make_function_call(entry, variables)
    kept = tuple(
        pair
        for pair in message.raw_headers
        if pair[0] not in OF_MESSAGE and not pair[0].startswith(PREFIXES) and pair not in call.raw_headers
    )
    headers = (*call.raw_headers, *kept)
    return replace(
        call, raw_headers=headers, client=message.client, request_id=message.request_id, user=message.user
    )


class ToolCall:
    """
    A call of a tool on its way.

    @param watched: whether L{item} should return the items of a generator as they are made. Otherwise only
        the last one is kept.
    @ivar path: the path of the call.
    @ivar reply: the complete reply; C{None} until the call has ended.
    """

    def __init__(self, dispatcher: Any, call: Call, watched: bool) -> None:
        self._dispatcher, self._call, self._watched = dispatcher, call, watched
        self.path = call.path
        self.reply: Reply | None = None
        self._head: Reply | None = None  # of a reply in parts
        self._is_lines = False
        self._last, self._parts, self._size = b"null", list[bytes](), 0
        self._items: deque[bytes] = deque()
        self._woken: Deferred[None] = Deferred()
        self._pending: PendingCall | None = None
        self._pending = dispatcher.go_on(call, self._answer)

    # ---- from the function ----

    def _answer(self, _: Call, reply: Reply) -> None:
        if isinstance(reply.body, Stream):
            self._head, self._is_lines = reply, ("content-type", JSON_LINES) in reply.headers
            reply.body.takes_error = True
            reply.body.begin(self._part, self._stream_ended)
        else:
            self._settle(reply)

    def _part(self, data: bytes) -> None:
        if self.reply is not None:
            return
        if not self._is_lines:
            self._size += len(data)
            self._parts.append(data)
            if self._size > LARGEST:
                self._fail(507, f"the result has more than {LARGEST} bytes")
            return
        self._last = data.rstrip()
        if self._watched and self._head is not None:
            self._items.append(self._last)
            self._head.body.pauseProducing()  # until the client has this item
            self._wake()

    def _stream_ended(self, failure: str) -> None:
        head = self._head
        if self.reply is not None or head is None:
            return
        if failure and head.body.error is None:
            self._settle(problem_reply(HTTPError(500, FAILED), self._call.request_id))
        else:
            self._settle(whole_reply(head, self._last if self._is_lines else b"".join(self._parts)))

    def _fail(self, status: int, why: str) -> None:
        self._settle(problem_reply(HTTPError(status, why), self._call.request_id))
        self._abandon()

    def _settle(self, reply: Reply) -> None:
        if self.reply is None:
            self.reply = reply
            self._wake()

    def _wake(self) -> None:
        self._woken, woken = Deferred(), self._woken
        woken.callback(None)

    # ---- for the client ----

    async def item(self) -> bytes | None:
        """Return the next item of a generator, as JSON; C{None} when the call has ended."""
        while not self._items and self.reply is None:
            if self._head is not None:
                self._head.body.resumeProducing()
            if not self._items and self.reply is None:
                await self._woken
        return self._items.popleft() if self._items else None

    def cancel(self) -> None:
        """Cancel the call, unless it has ended. A worker process that runs the function is killed."""
        if self.reply is None:
            self._settle(CANCELLED)
            self._abandon()

    def _abandon(self) -> None:
        if self._head is not None:  # It may have begun before the pending call was returned.
            self._head.body.stopProducing()
        if self._pending is not None:
            self._dispatcher.cancel(self._pending, kill=True)
