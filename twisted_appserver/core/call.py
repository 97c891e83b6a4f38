"""A call and its reply: what arrives and what leaves, independent of a transport, a reactor or a thread."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import msgspec


class Alone(str):
    """
    Text in an object that cannot be a part of a JSON document. msgspec passes subclasses of C{str} to the
    C{enc_hook}, where L{core.json_encoding.plain} refuses this one. So the check costs other values nothing.
    """

    why = ""


class OfReply(Alone):
    why = "a Reply is inside a result or was yielded; return it by itself, or yield its body"


NO_TRACEBACK = OfReply()


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """
    What goes back to the client. A function may return one to choose the status and the headers.

    @ivar body: from a function a dict (or dataclass, attrs class, Struct), C{str}, C{bytes}, an iterator
        of these two, or C{None} for an empty body; bytes once L{perform} has
        encoded it, or a L{executors.stream.Stream} of what is still being made.
    @ivar status: the HTTP status code, 200 to 599.
    @ivar headers: a mapping or pairs of names and values; pairs of C{str} once encoded. A name is C{str} or
        C{bytes}; a value is C{str}, C{bytes} or C{int}, or a list of these for several headers of the same
        name. Without a content-type it is application/json.
    @ivar traceback: of a fault in the function, for the log; never sent to a client by default.
    """

    body: Any
    status: int = 200
    headers: Any = ()
    traceback: str = NO_TRACEBACK


class Call(msgspec.Struct, frozen=True, array_like=True):
    """
    One request for a function, independent of how it arrived. A function that has a parameter
    annotated C{Call} receives it.

    @ivar method: the HTTP method, upper case.
    @ivar path: the path below the point where the application is mounted, percent-decoded.
    @ivar query: the query string as it came, without the question mark.
    @ivar raw_headers: names in lower case and values, in the order in which they came.
    @ivar body: the whole body.
    @ivar client: the address of the client, as text.
    @ivar request_id: names this request in logs and problem documents.
    @ivar deadline: when the answer is due, in seconds since the epoch; 0.0 if there is no limit. It is told
        only to a call that the function sees, or that is not over at once.
    @ivar arrived: when it arrived, likewise; set by the dispatcher.
    @ivar handler: the L{core.handler.Handler} that the path was routed to; set by the dispatcher.
    @ivar groups: the named groups of the pattern that matched; set by the dispatcher.
    @ivar prefer: what the client would like best, from its header Prefer (RFC 7240).
    @ivar user: the name that was given with a password, where C{--auth} asks for one.
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

    @property
    def headers(self) -> dict[str, str]:
        """
        The headers by their name in lower case. A repeated one is joined with commas (RFC 9110, section 5.3);
        cookies are joined with semicolons (RFC 9113, section 8.2.3).
        """
        found: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            joint = "; " if name == "cookie" else ", "
            found[name] = f"{found[name]}{joint}{value}" if name in found else value
        return found

    @property
    def content_type(self) -> str:
        """As in L{headers}; empty if there is none."""
        found = [value for name, value in self.raw_headers if name == b"content-type"]
        return b", ".join(found).decode("latin-1")

    @property
    def trace(self) -> dict[str, str]:
        """The headers that let what this call asks of other services be seen as a part of it."""
        passed = {name: self.headers.get(name, "") for name in ("traceparent", "tracestate")}
        return {name: value for name, value in {**passed, "x-request-id": self.request_id}.items() if value}


# The call that is being performed, in its own context only.
CURRENT: ContextVar[Call | None] = ContextVar("call", default=None)
