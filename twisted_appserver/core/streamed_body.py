"""A function that reads the bodies of its requests as they arrive. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from twisted_appserver.core import forked_child
from twisted_appserver.core.body_stream import BodyStream, Take, whole_body
from twisted_appserver.core.call import CURRENT, Call
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.request_data import body_too_long


def _take_here(call: Call) -> Take:
    take: Take = call.arriving.take
    return take


class StreamingHandler(Handler):
    """
    A L{Handler} whose function reads C{call.stream}. C{call.body} is always empty, even if the whole body has
    arrived already.

    @ivar max_stream: maximum size of a body in bytes; 0 for no limit.
    @ivar open_body: returns what takes the parts of the body of a call that is still arriving.
    """

    max_stream = 0
    open_body: Callable[[Call], Take] = staticmethod(_take_here)

    def check(self) -> None:
        """
        @raise ValueError: when the function cannot read a body as it arrives.
        """
        if not self.call_name:
            raise ValueError(
                "max_stream is for functions that read call.stream; annotate a parameter as Call"
            )
        if self.executor in ("inline", "cluster"):
            where = "on the reactor, which must not wait for a body" * (self.executor == "inline")
            raise ValueError(
                f"max_stream: the function runs {where or 'on a cluster'}; use threads or processes"
            )

    def _check_length(self, call: Call) -> None:
        """
        The front ends check a body that comes in chunks, and a body that is longer than C{--max-body}.

        @raise HTTPError: 413 when the body is too long.
        """
        declared = call.headers.get("content-length", "")
        length = int(declared) if declared.isdecimal() else len(call.body)
        if self.max_stream and length > self.max_stream:
            raise body_too_long(self.max_stream, True)

    def run(self, call: Call) -> Any:
        self._check_length(call)
        take = whole_body(call.body) if call.arriving is None else self.open_body(call)
        call = replace(call, body=b"", arriving=BodyStream(take))
        CURRENT.set(call)
        try:
            result = super().run(call)
        except BaseException as error:
            if call is forked_child.forked_by:
                forked_child.exit_child(error)
            raise
        if call is forked_child.forked_by:
            forked_child.exit_child()
        return result
