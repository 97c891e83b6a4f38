"""Converts any item to the fields of a task, and back, with its type. Needs the standard library only.

A dict whose keys are text is sent as the task's fields, so that other programs see what they expect. Any
other item C{x} is sent as C{{"item": x}}. This also applies to a dict with the reserved key C{worker}, and to
a dict that looks like C{{"item": x}}. Values that JSON lacks are tagged, like C{{"$type": ["tuple", [1,
2]]}}.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # type checkers have this package, and a default lets programs write Queue() without a type
    from typing_extensions import TypeVar

    Item = TypeVar("Item", default=Any)  # the type of the items of a queue, as in C{Queue[int]}
else:
    from typing import TypeVar

    Item = TypeVar("Item")

TAG, ITEM, RESERVED = "$type", "item", "worker"
PLAIN = frozenset((str, int, bool, type(None)))
DEEPEST = 100  # levels of nested JSON that a server accepts


class ItemError(ValueError):
    """Raised when the fields of a task, put by another program, do not represent an item."""


def _plain(value: Any) -> Any:
    """
    Return a value that JSON can represent, for C{value}.

    @raise TypeError: when no such value exists.
    """
    kind = type(value)
    if kind in PLAIN or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [_plain(each) for each in value]
    if kind is dict:
        if TAG not in value and all(type(key) is str for key in value):
            return {key: _plain(each) for key, each in value.items()}
        return {TAG: ["dict", [[_plain(key), _plain(each)] for key, each in value.items()]]}
    if kind in (tuple, set, frozenset):
        return {TAG: [kind.__name__, [_plain(each) for each in value]]}
    if kind is float:
        return {TAG: ["float", repr(value)]}
    if kind in (bytes, bytearray):
        return {TAG: [kind.__name__, base64.b64encode(value).decode()]}
    raise TypeError(
        f"tasks and results cannot hold {value!r}: send None, bool, int, float, str, bytes, bytearray, "
        "and list, tuple, set, frozenset and dict of these"
    )


FROM_TAGGED: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda value: tuple(map(_original, value)),
    "set": lambda value: set(map(_original, value)),
    "frozenset": lambda value: frozenset(map(_original, value)),
    "dict": lambda value: {_original(key): _original(each) for key, each in value},
    "float": float,
    "bytes": base64.b64decode,
    "bytearray": lambda value: bytearray(base64.b64decode(value)),
}


def _original(value: Any) -> Any:
    """Undo L{_plain}."""
    if type(value) is list:
        return [_original(each) for each in value]
    if type(value) is not dict:
        return value
    tagged = value.get(TAG)
    if len(value) == 1 and type(tagged) is list and len(tagged) == 2 and tagged[0] in FROM_TAGGED:
        return FROM_TAGGED[tagged[0]](tagged[1])
    return {key: _original(each) for key, each in value.items()}


def _depth(value: Any) -> int:
    if type(value) not in (list, dict):
        return 0
    return 1 + max(map(_depth, value.values() if type(value) is dict else value), default=0)


def to_task(item: Any) -> bytes:
    """
    Convert an item to the fields of a task, a JSON object.

    @raise TypeError: when the item, or a value in it, has a type that cannot be sent, is text with lone
        surrogates, or is nested too deep.
    """
    return _encoded(item, is_task=True)


def to_result(value: Any) -> bytes:
    """
    Convert the result of a task to JSON, for L{from_result}; C{None} becomes empty bytes.

    @raise TypeError: as L{to_task}.
    """
    return b"" if value is None else _encoded(value)


def from_result(value: Any) -> Any:
    """Undo L{to_result}, after the JSON was decoded. A value that was not converted is returned as it is."""
    try:
        return _original(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _encoded(item: Any, is_task: bool = False) -> bytes:
    """
    Return an item as JSON.

    @param is_task: whether the result must be an object.
    @raise TypeError: as L{to_task}.
    """
    try:
        value = _plain(item)
        if is_task and (
            type(value) is not dict or RESERVED in value or TAG in value or list(value) == [ITEM]
        ):
            value = {ITEM: value}
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # Counting brackets is cheap: only items with many brackets are examined again.
        if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
            raise RecursionError
        return text.encode()
    except RecursionError:
        what = f"values nested deeper than {DEEPEST} levels of JSON"
        raise TypeError(f"tasks and results cannot hold {what}") from None
    except UnicodeEncodeError as error:
        raise TypeError(f"tasks and results cannot hold {item!r}: {error}") from None


def from_task(fields: dict[str, Any]) -> Any:
    """
    Convert the fields of a task to the item.

    @raise ItemError: when they do not represent an item.
    """
    try:
        return _original(fields[ITEM] if list(fields) == [ITEM] else fields)
    except (TypeError, ValueError, OverflowError) as error:
        raise ItemError(f"a tagged value does not fit its tag: {error}") from error


def sort_key(item: Any) -> tuple[float, str]:
    """
    Return the priority of an item, and text that orders items of the same priority.

    These sort like the items: by value, or by the number at the beginning of a tuple or list, and then by the
    rest. An empty tuple or list comes first. Numbers are compared as floats. If Python could not compare two
    items, their order of arrival decides.
    """
    if isinstance(item, tuple | list) and not item:
        return -math.inf, ""
    first, *rest = item if isinstance(item, tuple | list) else (item,)
    if isinstance(first, int | float):
        return _number(first), b"".join(map(_ordered, rest)).hex()
    return 0.0, _ordered(item).hex()


def _number(value: float) -> float:
    try:
        return float(value) if value == value else 0.0
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _ordered(value: Any) -> bytes:
    """Return bytes that sort as the values do. Each value begins with a byte for its kind."""
    if isinstance(value, int | float):
        (bits,) = struct.unpack(">Q", struct.pack(">d", _number(value) + 0.0))
        bits = bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 1 << 63
        return b"\x02" + struct.pack(">Q", bits)
    if isinstance(value, str | bytes):
        raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return b"\x03" + raw.replace(b"\0", b"\0\xff") + b"\0"
    if isinstance(value, tuple | list):
        return b"\x04" + b"".join(map(_ordered, value)) + b"\x01"
    return b"\x05"
