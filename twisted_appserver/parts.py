"""Answers that come in parts: what a generator yields, where it runs. Pure."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context
from typing import Any

from twisted_appserver.remedies import remedy

WINDOW = 8  # parts that may be on their way to a client that has not taken them


def raw(item: Any) -> bytes:
    """An item as it is, for a function that names the type of its answer itself."""
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        return item
    raise TypeError(f"a part of a Reply must be str or bytes, not {type(item).__name__}")


class Parts:
    """
    An iterator of the parts of a body. The first is made at once, so that what fails before it is answered
    like the failure of any other function.

    @param items: what the function yields.
    @param encode: an item to bytes; empty ones are left out.
    @ivar context: of the call. All steps of the generator must run in it, and so must L{close}.
    """

    context: Context

    def __init__(self, items: Iterator[Any], encode: Callable[[Any], bytes]) -> None:
        self._items, self._encode = items, encode
        self._ahead: list[bytes] = []
        with suppress(StopIteration):
            self._ahead.append(next(self))

    def __iter__(self) -> Parts:
        return self

    def __next__(self) -> bytes:
        if self._ahead:
            return self._ahead.pop()
        while not (data := self._encode(next(self._items))):
            continue
        return data

    def close(self) -> None:
        """No more are wanted."""
        getattr(self._items, "close", bool)()

    def pump(self, may: Callable[[], bool], send: Callable[[bytes], None]) -> str:
        """
        Send all, and close the generator, in the context of its call.

        @param may: blocks until another part may be sent; false if nobody wants any.
        @return: the traceback, if it failed.
        """
        return self.context.run(self._pump, may, send)

    def _pump(self, may: Callable[[], bool], send: Callable[[bytes], None]) -> str:
        try:
            try:
                for data in self:
                    if not may():
                        break
                    send(data)
            finally:
                self.close()
        except BaseException as error:
            return shown(error)
        return ""


def shown(error: BaseException) -> str:
    """The traceback of an exception, with what to do about it where that is known."""
    text = "".join(traceback.format_exception(error))
    if advice := remedy(error):
        text = f"{text.rstrip()} ({advice})\n"
    return text.encode("utf-8", "backslashreplace").decode()
