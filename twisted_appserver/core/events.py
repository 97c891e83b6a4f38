"""
Server-sent events (HTML, section 9.2): what a generator yields to a browser's C{EventSource}. Pure.

A browser that has read such a stream to its end requests it again, with the id of the last event in the
header C{Last-Event-ID}, and goes on until it gets the status 204. So a stream without ids of its own ends
with an id that means its end, and a request with this id gets 204 without calling the function. A function
whose events have ids is called again with C{Last-Event-ID}; when it then yields nothing, the response is 204.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from twisted_appserver.core.call import Alone, Call, Reply
from twisted_appserver.core.json_encoding import encode

KIND = "text/event-stream"
NOT_STORED = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
EVENTS = (("content-type", KIND), *NOT_STORED)
FINISHED = Reply(b"", 204, NOT_STORED)  # after which an EventSource does not come back
END = "end-of-stream"


class OfEvent(Alone):
    why = "an Event is inside a result or an item; yield it by itself from a generator"


class Event(msgspec.Struct, frozen=True):
    """
    One event of a stream. To a client that reads JSON lines only its data is sent.

    @param data: anything that JSON has; without it the event only sets the other fields.
    @param event: the type, for C{addEventListener}; C{"message"} if empty.
    @param id: comes back as C{Last-Event-ID} when the browser connects again.
    @param retry: milliseconds until the browser connects again.
    @param comment: text that the browser ignores.
    @raise TypeError: when a field has another type.
    @raise ValueError: when the type or the id has a line end or a null character, or C{retry} is negative.
    """

    data: Any = msgspec.UNSET
    event: str = ""
    id: str | int = ""
    retry: int | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        for name, kinds in (("event", str), ("id", str | int), ("retry", int | None), ("comment", str)):
            value = getattr(self, name)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise TypeError(f"the {name} of an Event cannot be {value!r} ({type(value).__name__})")
        for text in (self.event, str(self.id)):
            if {"\r", "\n", "\0"} & set(text):
                raise ValueError(f"the event and the id of an Event have no line ends: {text!r}")
        if self.retry is not None and self.retry < 0:
            raise ValueError(f"an Event's retry is a number of milliseconds, not {self.retry}")
        force_setattr(self, "comment", OfEvent(self.comment))


def wanted(call: Call) -> bool:
    """
    Whether the client reads server-sent events: its header Accept names them, without C{q=0} (RFC 9110,
    section 12.5.1). A client that sends C{text/*} or C{*/*} gets JSON lines.
    """
    accept = call.headers.get("accept", "").lower()
    return KIND in accept and any(map(_names_events, accept.split(",")))


def _names_events(media_range: str) -> bool:
    kind, *parameters = (word.strip() for word in media_range.split(";"))
    weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    return kind == KIND and weight.strip("0.") != ""


def finished(call: Call) -> bool:
    """Whether the client has read this stream to its end before."""
    return call.headers.get("last-event-id") == END


def _json(item: Any) -> bytes:
    """JSON in one line, which C{msgspec.Raw} need not be."""
    body = encode(item)
    return b" ".join(body.splitlines()) if b"\n" in body or b"\r" in body else body


def line(item: Any) -> bytes:
    """An item as a line of JSON; nothing for an event without data."""
    if isinstance(item, Event):
        if item.data is msgspec.UNSET:
            return b""
        item = item.data
    return _json(item) + b"\n"


def event(item: Any) -> bytes:
    """An item as a server-sent event."""
    if not isinstance(item, Event):
        return b"data: " + _json(item) + b"\n\n"
    lines = [f": {text}" for text in item.comment.splitlines()]
    lines += [f"event: {item.event}"] if item.event else []
    lines += [f"id: {item.id}"] if item.id != "" else []
    lines += [] if item.retry is None else [f"retry: {item.retry}"]
    text = "".join(f"{each}\n" for each in lines).encode()
    if item.data is not msgspec.UNSET:
        text += b"data: " + _json(item.data) + b"\n"
    elif item.event:  # a type without data would be ignored
        text += b"data: null\n"
    return text + b"\n"


class _Ending:
    """
    What the end of a stream depends on.

    @ivar empty: whether nothing was yielded.
    """

    def __init__(self) -> None:
        self.empty, self._ids = True, False

    def passed(self, item: Any) -> Any:
        """Note an item that is sent."""
        self.empty = False
        self._ids = self._ids or (isinstance(item, Event) and item.id != "")
        return item

    @property
    def items(self) -> tuple[Event, ...]:
        """What is sent at the end."""
        return () if self.empty or self._ids else (Event(id=END),)


class Ending(_Ending, Iterator[Any]):
    """The items of a stream of events, and its end."""

    def __init__(self, items: Iterator[Any]) -> None:
        super().__init__()
        self._items, self._source = items, items

    def __next__(self) -> Any:
        try:
            return self.passed(next(self._items))
        except StopIteration:
            if self._items is not self._source:
                raise
            self._items = iter(self.items)
            return next(self._items)

    def close(self) -> None:
        """No more are wanted."""
        getattr(self._source, "close", bool)()


async def ending(items: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """As L{Ending}, of an asynchronous iterator."""
    end = _Ending()
    try:
        async for item in items:
            yield end.passed(item)
        for item in end.items:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
