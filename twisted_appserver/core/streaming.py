"""Answers that come in parts: what a generator yields, where it runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context
from typing import Any

from twisted_appserver.core import forked
from twisted_appserver.core.call import CURRENT
from twisted_appserver.core.remedies import shown

EMPTY = 1000  # empty parts before the first that is not, as many as are waited for


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
    @param encode: an item to bytes. Empty ones must not be sent: an empty chunk is the end of a body.
    @ivar context: of the call. All steps of the generator run in it.
    """

    context: Context
    _error: BaseException | None = None

    def __init__(self, items: Iterator[Any], encode: Callable[[Any], bytes]) -> None:
        self._items, self._encode = items, encode
        self._ahead: list[bytes] = []
        with suppress(StopIteration):
            for _ in range(EMPTY):
                if data := next(self):
                    self._ahead.append(data)
                    break
        _leave_child()

    def __iter__(self) -> Parts:
        return self

    def __next__(self) -> bytes:
        return self._ahead.pop() if self._ahead else self._encode(next(self._items))

    def make(self, may: Callable[[], bool], send: Callable[[bytes], object]) -> str | None:
        """
        Send parts while C{may()}. At the end, also where the generator fails, it is closed.

        @return: C{None} if there may be more; else the traceback, which is empty if nothing failed.
        """
        return self.context.run(self._make, may, send)

    def _make(self, may: Callable[[], bool], send: Callable[[bytes], object]) -> str | None:
        try:
            while may():
                data = next(self)
                _leave_child()
                if data:
                    send(data)
        except StopIteration:
            _leave_child()
            return self._closed("")
        except BaseException as error:
            _leave_child(error)
            self._error = error
            return self._closed(shown(error))
        return None

    def close(self) -> str:
        """
        Close the generator before its end, in the context of its call.

        @return: the traceback, if that failed.
        """
        return self.context.run(self._closed, "")

    def take_error(self) -> BaseException | None:
        """
        The exception that the generator raised after its first part. It is not kept: its traceback refers to
        these parts.
        """
        error, self._error = self._error, None
        return error

    def _closed(self, failure: str) -> str:
        try:
            self.stop()
        except BaseException as error:
            return failure or shown(error)
        return failure

    def stop(self) -> None:
        """Close the generator, in the current context."""
        getattr(self._items, "close", bool)()


def _leave_child(error: BaseException | None = None) -> None:
    """End this process if a step of the generator has forked it."""
    if forked.child_of is not None and CURRENT.get() is forked.child_of:
        forked.leave(error)
