"""
Server-sent events (HTML Standard, section 9.2), which browsers read with C{EventSource}. Pure.

When a stream ends, the browser requests it again and sends the id of the last event in the header
C{Last-Event-ID}. It stops only when the status is 204. So a stream whose events have no ids ends with an
event that has a reserved id, and a request with that id gets 204 without a call of the function. A function
whose events have ids is called again with C{Last-Event-ID}. If it then yields nothing, the response is 204.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import msgspec

from twisted_appserver.core.call import Call, NotJSON, Reply
from twisted_appserver.core.json_encoding import encode

CONTENT_TYPE = "text/event-stream"
NO_CACHING = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
EVENT_HEADERS = (("content-type", CONTENT_TYPE), *NO_CACHING)
NO_MORE_EVENTS = Reply(b"", 204, NO_CACHING)  # an EventSource does not reconnect after this response
END_ID = "end-of-stream"


class _EventMarker(NotJSON):
    reason = "an Event is inside a result or an item; yield it by itself from a generator"


class _EventFields(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Gives L{Event} a last field that cannot be encoded as JSON."""

    _marker: str = _EventMarker()


class Event(_EventFields, frozen=True):
    """
    One event of a stream. A client that reads JSON lines receives only its data.

    @ivar data: any value that JSON can represent; if it is left out, the event only sets the other fields.
    @ivar event: the type, for C{addEventListener}; empty for C{"message"}.
    @ivar id: the browser sends it as C{Last-Event-ID} when it reconnects.
    @ivar retry: milliseconds until the browser reconnects.
    @ivar comment: text that the browser ignores.
    @raise TypeError: when a field has another type.
    @raise ValueError: when the type or the id contains a line end or NUL, or C{retry} is negative.
    """

    data: Any = msgspec.UNSET
    event: str = ""
    id: str | int = ""
    retry: int | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        for name, types in (("event", str), ("id", str | int), ("retry", int | None), ("comment", str)):
            value = getattr(self, name)
            if not isinstance(value, types) or isinstance(value, bool):
                raise TypeError(f"the {name} of an Event cannot be {value!r} ({type(value).__name__})")
        for text in (self.event, str(self.id)):
            if {"\r", "\n", "\0"} & set(text):
                raise ValueError(f"the event and the id of an Event must not contain line ends: {text!r}")
        if self.retry is not None and self.retry < 0:
            raise ValueError(f"the retry of an Event must be 0 or more milliseconds, not {self.retry}")


def accepts_events(call: Call) -> bool:
    """
    Return whether the client reads server-sent events.

    The Accept header must name them, without C{q=0} (RFC 9110, section 12.5.1). A client that sends C{text/*}
    or C{*/*} gets JSON lines.
    """
    accept = call.headers.get("accept", "").lower()
    return CONTENT_TYPE in accept and any(map(_names_events, accept.split(",")))


def _names_events(media_range: str) -> bool:
    kind, *parameters = (word.strip() for word in media_range.split(";"))
    weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    return kind == CONTENT_TYPE and weight.strip("0.") != ""


def has_read_all(call: Call) -> bool:
    """Return whether the client has already read this stream to its end."""
    return call.headers.get("last-event-id") == END_ID


def _json(item: Any) -> bytes:
    """Encode an item as JSON on one line. C{msgspec.Raw} may contain line ends."""
    body = encode(item)
    return b" ".join(body.splitlines()) if b"\n" in body or b"\r" in body else body


def encode_line(item: Any) -> bytes:
    """Encode an item as a line of JSON. An event without data becomes empty."""
    if isinstance(item, Event):
        if item.data is msgspec.UNSET:
            return b""
        item = item.data
    return _json(item) + b"\n"


def encode_event(item: Any) -> bytes:
    """Encode an item as a server-sent event."""
    if not isinstance(item, Event):
        return b"data: " + _json(item) + b"\n\n"
    lines = [f": {text}" for text in item.comment.splitlines()]
    lines += [f"event: {item.event}"] if item.event else []
    lines += [f"id: {item.id}"] if item.id != "" else []
    lines += [] if item.retry is None else [f"retry: {item.retry}"]
    text = "".join(f"{each}\n" for each in lines).encode()
    if item.data is not msgspec.UNSET:
        text += b"data: " + _json(item.data) + b"\n"
    elif item.event:  # browsers ignore a type without data
        text += b"data: null\n"
    return text + b"\n"


class _EndOfStream:
    """
    Decide how a stream ends.

    @ivar empty: whether the function has yielded nothing.
    """

    def __init__(self) -> None:
        self.empty, self._has_ids = True, False

    def note(self, item: Any) -> Any:
        """Record that an item is sent, and return the item."""
        self.empty = False
        self._has_ids = self._has_ids or (isinstance(item, Event) and item.id != "")
        return item

    @property
    def last_events(self) -> tuple[Event, ...]:
        """The events to send after the last item."""
        return () if self.empty or self._has_ids else (Event(id=END_ID),)


class EventItems(Iterator[Any]):
    """
    The items of a stream of events, followed by the event that ends it.

    @param items: what the function yields.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self._items, self._source = items, items
        self._end = _EndOfStream()

    @property
    def empty(self) -> bool:
        """Whether the function has yielded nothing."""
        return self._end.empty

    def __next__(self) -> Any:
        try:
            return self._end.note(next(self._items))
        except StopIteration:
            if self._items is not self._source:
                raise
            self._items = iter(self._end.last_events)
            return next(self._items)

    def close(self) -> None:
        """Close the function's generator."""
        getattr(self._source, "close", bool)()


async def async_event_items(items: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """Yield the items of an asynchronous stream of events, followed by the event that ends it."""
    end = _EndOfStream()
    try:
        async for item in items:
            yield end.note(item)
        for item in end.last_events:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
