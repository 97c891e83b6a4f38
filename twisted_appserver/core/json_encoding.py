"""
JSON from what functions return. Pure.

Strategy: msgspec encodes quickly, but writes NaN as null, C{Decimal("NaN")} as text, and keys that become the
same text twice. So each value is also encoded as msgpack with sorted keys, which takes less time. That fails
if a key is not text, and shows NaN and infinity as bytes that are easy to find. Only a value that looks
suspicious there is examined item by item. A large list of plain rows is cheaper to check by searching its
JSON; whether its keys are text is seen from a sample.
"""

from __future__ import annotations

import json
import os
import re
from collections import UserString
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from itertools import chain, islice
from math import isfinite
from reprlib import repr as short
from threading import local
from typing import Any

import msgspec

from twisted_appserver.core.call import Alone

FLOAT = b"\xcb"  # begins a float64 in msgpack
_not_finite = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search  # one whose exponent has all bits set
LARGE = 4096  # bytes of JSON from which plain rows are searched instead of being packed
KEPT = 256 * 1024  # bytes of JSON up to which the memory for its check is kept, in each thread
MANY = 100  # containers from which that is worth while
SAMPLE = 4  # items at each end of a list that show what the others are
TEXTS = (str, bytes, bytearray, memoryview, int, type(None), msgspec.Raw)
LISTS = (list, tuple, set, frozenset)


def _refuse(text: Alone) -> None:
    raise TypeError(text.why)


# Subclasses may change what str() and the like return, so the methods of the base are called.
CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Alone, _refuse),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, lambda data: memoryview(data).tobytes()),
    (UserString, str),
    (Mapping, dict),
    (os.PathLike, os.fspath),
)
TABLE = ("keys", "columns")  # has what is not just a list of items, such as a DataFrame of pandas or polars
CONTAINERS = (tuple, frozenset, list, set, dict)  # msgspec knows them as values, so here they are keys
TIMES = {"M": "datetime64[us]", "m": "timedelta64[us]"}
PLAIN = frozenset((dict, list, str, int, float, bool, type(None)))


def plain(value: Any) -> Any:
    """
    A value that msgspec does not know, as one that it does: subclasses of text and numbers, models of
    pydantic, mappings, arrays and scalars of numpy, paths, and any other collection.

    @raise TypeError: when JSON has nothing like it.
    """
    kind = type(value)
    if value is None or kind is bool:  # only as a key
        return json.dumps(value)
    if hasattr(kind, "model_dump"):  # asked for what JSON has, where it is pydantic's own
        pydantic = hasattr(kind, "__pydantic_serializer__")
        return value.model_dump(**{"mode": "json", "by_alias": True} if pydantic else {})
    if kind in CONTAINERS:
        raise TypeError(f"the key {short(value)} ({kind.__name__}) has no equivalent in JSON")
    for base, convert in CONVERSIONS:
        if isinstance(value, base):
            return convert(value)
    if isinstance(value, Sequence) and hasattr(kind, "keys"):  # a sqlite3.Row
        return dict(value)
    if getattr(getattr(value, "dtype", None), "kind", "") in TIMES:
        return _times(value)
    for method in ("tolist", "item"):
        if hasattr(kind, method):
            return getattr(value, method)()
    if isinstance(value, Collection) and not any(hasattr(kind, name) for name in TABLE):
        return list(value)
    raise TypeError(f"{short(value)} ({type(value).__name__}) has no equivalent in JSON")


def _times(value: Any) -> Any:
    """Times of numpy or pandas as those of the standard library, which has no nanoseconds."""
    found = value.astype(TIMES[value.dtype.kind])
    found = (found.tolist if hasattr(found, "tolist") else found.item)()
    if found is None or (isinstance(found, list) and None in found):
        raise ValueError(f"{short(value)} is not a time, and JSON has no NaT")
    return found


_json = msgspec.json.Encoder(enc_hook=plain).encode
_packer = msgspec.msgpack.Encoder(enc_hook=plain, order="deterministic", decimal_format="number")
_pack = _packer.encode
_thread = local()


def encode(value: Any) -> bytes:
    """
    A value as JSON.

    @raise TypeError: when some part of it has no equivalent in JSON.
    @raise ValueError: when a number is not finite (RFC 8259, section 6), or an object has equal keys.
    """
    body = _json(value)
    if len(body) >= LARGE and _rows(value) and not _suspicious(body):
        return body
    try:
        packed = _pack(value) if len(body) < LARGE else _pack_large(value, len(body))
    except Exception:  # a key that is not text, or what msgpack does not have
        _check_keys(body)
        _check_numbers(value)
    else:
        if packed.find(FLOAT) >= 0 and _not_finite(packed):
            _check_numbers(value)
    return body


def _pack_large(value: Any, size: int) -> bytes | bytearray:
    """As C{_pack}, in memory that is used again: to allocate it each time takes longer than to fill it."""
    if size > KEPT:
        return _pack(value)
    buffer: bytearray | None = getattr(_thread, "buffer", None)
    if buffer is None:
        buffer = _thread.buffer = bytearray()
    _packer.encode_into(value, buffer)
    return buffer


def _rows(value: Any) -> bool:
    """Whether a value has a great many parts, which are plain as far as a sample shows."""
    found, parts = [value], 0
    for each in found:
        if len(found) > MANY or type(each) not in (dict, list):
            return False
        if type(each) is dict and not {str}.issuperset(map(type, each)):
            return False
        items = each.values() if type(each) is dict else each
        sample = [*islice(items, SAMPLE), *islice(reversed(items), SAMPLE)]
        if not PLAIN.issuperset(map(type, sample)):
            return False
        inner = [item for item in sample if type(item) in (dict, list)]
        parts += len(items) if inner else 0
        found += inner
    return parts > MANY


def _suspicious(body: bytes) -> bool:
    """Whether JSON may stand for a number that is not finite; C{rfind} is twice as fast as C{find} here."""
    return body.rfind(b"null") >= 0 or any(
        body.find(word[:1]) >= 0 and body.rfind(word) >= 0 for word in (b"NaN", b"Infinity")
    )


def _check_keys(body: bytes) -> None:
    """
    @raise ValueError: when an object has equal keys.
    """
    if _json(msgspec.json.decode(body)) != body:
        json.loads(body, object_pairs_hook=_distinct, parse_int=str, parse_float=str)


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise ValueError(
                f"two keys of an object are {key!r} in JSON; convert keys to text and merge them"
            )
        keys.add(key)


def _check_numbers(value: Any) -> None:
    """
    @raise ValueError: when a number in a value that can be encoded is not finite.
    """
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, float | Decimal):
            if not (isfinite(each) if isinstance(each, float) else each.is_finite()):
                raise ValueError(f"{each!r} is not a finite number, and JSON has no other")
        elif isinstance(each, Mapping):
            waiting += chain(each, each.values())
        elif isinstance(each, LISTS):
            waiting += each
        elif not isinstance(each, TEXTS):
            waiting += _inside(each)


def _inside(value: Any) -> Iterable[Any]:
    """What an object consists of; nothing for one that msgspec encodes as text, such as a date."""
    kind = type(value)
    for names in ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__"):
        if hasattr(kind, names):
            fields = (getattr(field, "name", field) for field in getattr(kind, names))
            return [getattr(value, field, None) for field in fields]
    if isinstance(value, Enum):
        return [value.value]
    with suppress(TypeError):
        return [plain(value)]
    return []
