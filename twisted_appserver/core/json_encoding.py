"""
Encodes the results of functions as JSON. Pure.

Strategy: msgspec encodes quickly, but it writes NaN as null and C{Decimal("NaN")} as text, and it does not
notice when two keys of an object become the same text. So each value is also encoded as msgpack with sorted
keys, which takes less time than JSON. Encoding as msgpack fails if a key is not text, and it writes NaN and
infinity as bytes that are easy to find. The value is examined item by item only if one of these is found. For
a large list of plain rows it is cheaper to search the JSON for words that may stand for NaN; a sample shows
whether the keys are text.
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

from twisted_appserver.core.call import NotJSON

FLOAT = b"\xcb"  # the first byte of a float64 in msgpack
_find_non_finite = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search  # a float64 with all exponent bits set
LARGE = 4096  # bytes of JSON; from this size on, the JSON of plain rows is searched instead of packing them
MAX_BUFFER = 256 * 1024  # bytes of JSON; up to this size, each thread reuses its buffer for the check
MANY_PARTS = 100  # with fewer parts, searching the JSON does not pay
SAMPLE = 4  # items at each end of a list that are examined in place of all of them
LEAVES = (str, bytes, bytearray, memoryview, int, type(None), msgspec.Raw)
LISTS = (list, tuple, set, frozenset)


def _refuse(marker: NotJSON) -> None:
    raise TypeError(marker.reason)


# Subclasses may override str() and the like, so the methods of the base class are called.
CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (NotJSON, _refuse),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, lambda data: memoryview(data).tobytes()),
    (UserString, str),
    (Mapping, dict),
    (os.PathLike, os.fspath),
)
TABLE_ATTRIBUTES = ("keys", "columns")  # a collection with one of these, such as a DataFrame, is not a list
CONTAINERS = (tuple, frozenset, list, set, dict)  # msgspec encodes these as values, so here they are keys
TIMES = {"M": "datetime64[us]", "m": "timedelta64[us]"}
PLAIN_TYPES = frozenset((dict, list, str, int, float, bool, type(None)))


def to_encodable(value: Any) -> Any:
    """
    Convert a value that msgspec cannot encode to one that it can.

    Supported are subclasses of text and numbers, pydantic models, mappings, numpy arrays and scalars, paths,
    and all other collections.

    @raise TypeError: when JSON has no equivalent.
    """
    kind = type(value)
    if value is None or kind is bool:  # msgspec passes these here only if they are keys
        return json.dumps(value)
    if hasattr(kind, "model_dump"):  # other classes may have a method of this name without pydantic's options
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
        return _numpy_times(value)
    for method in ("tolist", "item"):
        if hasattr(kind, method):
            return getattr(value, method)()
    if isinstance(value, Collection) and not any(hasattr(kind, name) for name in TABLE_ATTRIBUTES):
        return list(value)
    raise TypeError(f"{short(value)} ({type(value).__name__}) has no equivalent in JSON")


def _numpy_times(value: Any) -> Any:
    """Convert times of numpy or pandas to types of the standard library, without nanoseconds."""
    found = value.astype(TIMES[value.dtype.kind])
    found = (found.tolist if hasattr(found, "tolist") else found.item)()
    if found is None or (isinstance(found, list) and None in found):
        raise ValueError(f"{short(value)} contains NaT, which JSON cannot represent; use None")
    return found


_json = msgspec.json.Encoder(enc_hook=to_encodable).encode
_packer = msgspec.msgpack.Encoder(enc_hook=to_encodable, order="deterministic", decimal_format="number")
_pack = _packer.encode
_thread = local()


def encode(value: Any) -> bytes:
    """
    Encode a value as JSON.

    @raise TypeError: when a part of it has no equivalent in JSON.
    @raise ValueError: when a number is not finite (RFC 8259, section 6), or two keys of an object are equal.
    """
    body = _json(value)
    if len(body) >= LARGE and _is_plain_rows(value) and not _may_contain_nan(body):
        return body
    try:
        packed = _pack(value) if len(body) < LARGE else _pack_large(value, len(body))
    except Exception:  # a key is not text, or msgpack cannot represent a value
        _check_keys(body)
        _check_numbers(value)
    else:
        if packed.find(FLOAT) >= 0 and _find_non_finite(packed):
            _check_numbers(value)
    return body


def _pack_large(value: Any, size: int) -> bytes | bytearray:
    """Encode as msgpack in a buffer that is reused: allocating it takes longer than filling it."""
    if size > MAX_BUFFER:
        return _pack(value)
    buffer: bytearray | None = getattr(_thread, "buffer", None)
    if buffer is None:
        buffer = _thread.buffer = bytearray()
    _packer.encode_into(value, buffer)
    return buffer


def _is_plain_rows(value: Any) -> bool:
    """Return whether a value has many parts, and a sample of them contains only plain types."""
    found, parts = [value], 0
    for each in found:
        if len(found) > MANY_PARTS or type(each) not in (dict, list):
            return False
        if type(each) is dict and not {str}.issuperset(map(type, each)):
            return False
        items = each.values() if type(each) is dict else each
        sample = [*islice(items, SAMPLE), *islice(reversed(items), SAMPLE)]
        if not PLAIN_TYPES.issuperset(map(type, sample)):
            return False
        inner = [item for item in sample if type(item) in (dict, list)]
        parts += len(items) if inner else 0
        found += inner
    return parts > MANY_PARTS


def _may_contain_nan(body: bytes) -> bool:
    """
    Return whether a number that is not finite may be in the value of this JSON.

    C{rfind} is twice as fast as C{find} here.
    """
    return body.rfind(b"null") >= 0 or any(
        body.find(word[:1]) >= 0 and body.rfind(word) >= 0 for word in (b"NaN", b"Infinity")
    )


def _check_keys(body: bytes) -> None:
    """
    @raise ValueError: when two keys of an object are equal.
    """
    if _json(msgspec.json.decode(body)) != body:
        json.loads(body, object_pairs_hook=_refuse_equal_keys, parse_int=str, parse_float=str)


def _refuse_equal_keys(pairs: list[tuple[str, Any]]) -> None:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise ValueError(
                f"two keys of an object are both {key!r} in JSON; convert keys to text and merge them"
            )
        keys.add(key)


def _check_numbers(value: Any) -> None:
    """
    @raise ValueError: when a number in the value is not finite.
    """
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, float | Decimal):
            if not (isfinite(each) if isinstance(each, float) else each.is_finite()):
                raise ValueError(f"{each!r} is not a finite number, so JSON cannot represent it; use None")
        elif isinstance(each, Mapping):
            waiting += chain(each, each.values())
        elif isinstance(each, LISTS):
            waiting += each
        elif not isinstance(each, LEAVES):
            waiting += _members(each)


def _members(value: Any) -> Iterable[Any]:
    """Return the members of an object; nothing for an object that is encoded as text, such as a date."""
    kind = type(value)
    for names in ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__"):
        if hasattr(kind, names):
            fields = (getattr(field, "name", field) for field in getattr(kind, names))
            return [getattr(value, field, None) for field in fields]
    if isinstance(value, Enum):
        return [value.value]
    with suppress(TypeError):
        return [to_encodable(value)]
    return []
