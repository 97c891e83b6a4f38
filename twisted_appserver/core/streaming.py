"""The parts of a response body that a generator yields, made where the generator runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context
from typing import Any

from twisted_appserver.core import forked_child
from twisted_appserver.core.call import CURRENT
from twisted_appserver.core.error_advice import format_traceback

MAX_EMPTY = 1000  # empty parts to skip while looking for the first part with content


def encode_raw(item: Any) -> bytes:
    """Encode an item of a Reply whose function sets the content type itself."""
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        return item
    raise TypeError(f"a part of a Reply must be str or bytes, not {type(item).__name__}")


class Parts:
    """
    Iterate over the parts of a body.

    The first part is made immediately, so that an error before it gets the same response as an error in any
    other function.

    @param items: the generator.
    @param encode: encodes an item. Empty parts must not be sent: an empty chunk ends a body.
    @ivar context: the context of the call, in which every step of the generator runs.
    """

    context: Context
    _error: BaseException | None = None

    def __init__(self, items: Iterator[Any], encode: Callable[[Any], bytes]) -> None:
        self._items, self._encode = items, encode
        self._first: list[bytes] = []
        with suppress(StopIteration):
            for _ in range(MAX_EMPTY):
                if data := next(self):
                    self._first.append(data)
                    break
        _exit_forked_child()

    def __iter__(self) -> Parts:
        return self

    def __next__(self) -> bytes:
        return self._first.pop() if self._first else self._encode(next(self._items))

    def produce(self, may_continue: Callable[[], bool], send: Callable[[bytes], object]) -> str | None:
        """
        Send parts while C{may_continue()} is true. Close the generator when it ends or fails.

        @return: C{None} if there may be more parts; otherwise the traceback, empty if nothing failed.
        """
        return self.context.run(self._produce, may_continue, send)

    def _produce(self, may_continue: Callable[[], bool], send: Callable[[bytes], object]) -> str | None:
        try:
            while may_continue():
                data = next(self)
                _exit_forked_child()
                if data:
                    send(data)
        except StopIteration:
            _exit_forked_child()
            return self._close("")
        except BaseException as error:
            _exit_forked_child(error)
            self._error = error
            return self._close(format_traceback(error))
        return None

    def close(self) -> str:
        """
        Close the generator before its end, in the context of its call.

        @return: the traceback if closing failed; otherwise empty.
        """
        return self.context.run(self._close, "")

    def take_error(self) -> BaseException | None:
        """
        Return the exception that the generator raised after its first part, and forget it.

        It is not kept, because its traceback refers to this object.
        """
        error, self._error = self._error, None
        return error

    def _close(self, failure: str) -> str:
        try:
            self.close_generator()
        except BaseException as error:
            return failure or format_traceback(error)
        return failure

    def close_generator(self) -> None:
        """Close the generator in the current context."""
        getattr(self._items, "close", bool)()


def _exit_forked_child(error: BaseException | None = None) -> None:
    """End this process if a step of the generator has forked it."""
    if forked_child.forked_by is not None and CURRENT.get() is forked_child.forked_by:
        forked_child.exit_child(error)
