"""Comments in a silent stream of server-sent events, so that no proxy closes the connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import LoopingCall

from twisted_appserver.executors.stream import Stream

EVERY = 15.0  # seconds, as the HTML standard recommends (section 9.2.7)
COMMENT = b":\n\n"


def keep_alive(reactor: Any, stream: Stream) -> None:
    """
    Send comments between the parts of a stream, until it ends or is no longer read.

    @param reactor: an C{IReactorTime}.
    @param stream: a stream whose parts are whole events.
    """
    ended = stream.ended

    def send() -> None:
        if stream.dropped:
            beat.stop()
        else:
            stream.aside(COMMENT)

    def stop() -> None:
        if beat.running:
            beat.stop()
        ended()

    beat = LoopingCall(send)
    beat.clock = reactor
    beat.start(EVERY, now=False)
    stream.ended = stop
