"""How any item becomes a task's fields, and back, with its type. Standard library only.

A dict with text for keys travels as the task's fields, so that other programs see what they would expect.
Any other item C{x} travels as C{{"item": x}}, and so does a dict which has the reserved name C{worker},
or which would be taken for that form. Inside, what JSON does not have is tagged, like
C{{"$type": ["tuple", [1, 2]]}}.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from typing import Any

TAG, ITEM, RESERVED = "$type", "item", "worker"
PLAIN = frozenset((str, int, bool, type(None)))
DEEPEST = 100  # levels of nested JSON that a server takes


class ItemError(ValueError):
    """Raised when a task's fields, from another program, stand for no item."""


def _plain(value: Any) -> Any:
    """A value that JSON has, which stands for C{value}."""
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
        f"a task cannot hold {value!r}: send None, bool, int, float, str, bytes, bytearray, "
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
    """The opposite of L{_plain}."""
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
    The task's fields, a JSON object, that stand for an item.

    @raise TypeError: when the item, or something in it, is of a type that cannot travel, or text that has no
        UTF-8, or is nested too deep.
    """
    try:
        value = _plain(item)
        if type(value) is not dict or RESERVED in value or TAG in value or list(value) == [ITEM]:
            value = {ITEM: value}
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # Counting brackets is cheap, so that only a suspicious item is walked again.
        if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
            raise RecursionError
        return text.encode()
    except RecursionError:
        raise TypeError(f"a task cannot hold what is nested deeper than {DEEPEST}, as JSON") from None
    except UnicodeEncodeError as error:
        raise TypeError(f"a task cannot hold {item!r}: {error}") from None


def from_task(fields: dict[str, Any]) -> Any:
    """
    The item that a task's fields stand for.

    @raise ItemError: when they stand for none.
    """
    try:
        return _original(fields[ITEM] if list(fields) == [ITEM] else fields)
    except (TypeError, ValueError, OverflowError) as error:
        raise ItemError(f"what is tagged is not what its tag says: {error}") from error


def sort_key(item: Any) -> tuple[float, str]:
    """
    The priority and the further order of an item, which sort as the items do: by its value, or by the
    number that a tuple or list begins with, and then by the rest; an empty one comes first. Numbers are
    compared as floats. Where Python could not compare two items, their order of arrival decides.
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
    """Bytes that sort as the values do. Every value begins with its kind, and ends before any other."""
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
