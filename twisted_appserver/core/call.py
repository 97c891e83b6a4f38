"""A call and its reply: what arrives and what leaves, independent of transports, reactors and threads."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import msgspec

from twisted_appserver.core.body_stream import BodyStream
from twisted_appserver.core.header_dict import HeaderDict


class NotJSON(str):
    """
    Text that marks an object which must not be part of a JSON document. msgspec passes subclasses of C{str}
    to the C{enc_hook}, and L{core.json_encoding.to_encodable} rejects this class there. So this check costs
    nothing for other values.

    @cvar reason: the error message.
    """

    reason = ""


class _ReplyMarker(NotJSON):
    reason = "a Reply is inside a result or was yielded; return it by itself, or yield its body"


NO_TRACEBACK = _ReplyMarker()


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """
    The response to a call. A function may return one to choose the status and the headers.

    @ivar body: from a function: a dict (or dataclass, attrs class, Struct), C{str}, C{bytes}, an iterator of
        these two, a path such as C{pathlib.Path} of a file to send, or C{None} for an empty body. After
        L{perform}: bytes, a L{FileBody}, or a L{executors.stream.Stream} of a body that is still being made.
    @ivar status: the HTTP status code, 200 to 599.
    @ivar headers: a mapping, or pairs of names and values; pairs of C{str} after L{perform}. A name is C{str}
        or C{bytes}. A value is C{str}, C{bytes} or C{int}, or a list of these for several headers of the same
        name. The default content-type is C{application/json}.
    @ivar traceback: the traceback of a function that failed, for the log. Clients do not receive it by
        default.
    """

    body: Any
    status: int = 200
    headers: Any = ()
    traceback: str = NO_TRACEBACK


class Call(msgspec.Struct, frozen=True, array_like=True):
    """
    One request for a function, independent of the transport. It never changes. A function that has a
    parameter annotated C{Call} receives it.

    A front end makes a call from the request that arrived. The dispatcher then makes the call that the
    function receives, with the values that only the dispatcher knows. State that changes while the call is
    performed is kept in an L{executors.interface.PendingCall}.

    @ivar method: the HTTP method, in upper case.
    @ivar path: the path below the point where the application is mounted, percent-decoded.
    @ivar query: the query string as it arrived, without the question mark.
    @ivar raw_headers: names in lower case and values, in the order in which they arrived.
    @ivar body: the whole body.
    @ivar client: the address of the client, as text.
    @ivar request_id: names this request in logs and problem documents. The dispatcher makes one unless the
        client sent C{X-Request-ID}.
    @ivar deadline: when the reply is due, in seconds since the epoch; 0.0 if there is no limit. From the
        dispatcher.
    @ivar arrived: when the request arrived, in seconds since the epoch. From the dispatcher.
    @ivar handler: the L{core.handler.Handler} for the path. From the dispatcher.
    @ivar groups: the named groups of the pattern that matched. From the dispatcher.
    @ivar user: the name that was sent with a password, if C{--auth} requires one. From the dispatcher.
    @ivar prefer: the value of the header Prefer (RFC 7240), and C{idempotency-key} if there is such a header.
    @ivar base: the scheme of the URL and the path at which the application is mounted, such as
        C{https:/app}; empty for http and the root.
    @ivar has_encoded_slash: whether the path contained C{%2F}, which counts as a slash. The front end sets
        it, and the dispatcher does not pass it on.
    @ivar arriving: the body, if its route has C{max_stream} and it had not arrived when the call began.
    """

    method: str
    path: str
    query: str = ""
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    client: str = ""
    request_id: str = ""
    deadline: float = 0.0
    arrived: float = 0.0
    handler: Any = None
    groups: dict[str, str] = {}
    user: str = ""
    prefer: str = ""
    base: str = ""
    has_encoded_slash: bool = False
    arriving: Any = None

    @property
    def headers(self) -> dict[str, str]:
        """
        The headers by name, in lower case. Names are looked up without regard to case. Repeated headers are
        joined with commas (RFC 9110, section 5.3), and cookies with semicolons (RFC 9113, section 8.2.3).
        """
        found: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            joint = "; " if name == "cookie" else ", "
            found[name] = f"{found[name]}{joint}{value}" if name in found else value
        return HeaderDict(found)

    @property
    def content_type(self) -> str:
        """The Content-Type header, as in L{headers}; empty if there is none."""
        found = [value for name, value in self.raw_headers if name == b"content-type"]
        return b", ".join(found).decode("latin-1")

    @property
    def stream(self) -> BodyStream:
        """
        The body, as a file that can be read once, while it arrives. Only for routes with C{max_stream}.

        @raise RuntimeError: when the route has no C{max_stream}.
        """
        if not isinstance(self.arriving, BodyStream):
            raise RuntimeError(
                "call.stream: read call.body, or give the Route of this function max_stream=..."
            )
        return self.arriving

    @property
    def trace(self) -> dict[str, str]:
        """Headers for requests to other services, so that traces and logs show them as part of this call."""
        passed = {name: self.headers.get(name, "") for name in ("traceparent", "tracestate")}
        return {name: value for name, value in {**passed, "x-request-id": self.request_id}.items() if value}


# The call that is being performed. It is set only in the context of that call.
CURRENT: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call:
    """
    Return the call that is being performed, for decorators and for functions without a parameter for the
    call.

    It is available during the whole call, wherever the call runs: in the function, its decorators and its
    generator, and in tasks and threads that get a copy of the context, as with C{asyncio.to_thread}.

    @raise RuntimeError: when no call is being performed here.
    """
    call = CURRENT.get()
    if call is None:
        raise RuntimeError("current_call(): no call is being performed in this thread or task")
    return call
