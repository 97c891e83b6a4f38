"""
A table of results and the JSON that is sent for them, the same for every executor.

This module is also an application.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import enum
import math
import pathlib
import sqlite3
import types
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import attrs
import msgspec

from twisted_appserver import Event, Reply


class Name(str):
    """Text whose C{str()} differs, like C{markupsafe.Markup}."""

    def __str__(self) -> str:
        return "wrong"


class Number(int):
    def __str__(self) -> str:
        return "wrong"


class Ratio(float):
    def __repr__(self) -> str:
        return "wrong"


class Data(bytes):
    pass


class Level(enum.IntEnum):
    LOW = 1


class Town(enum.StrEnum):
    ULM = "Ulm"


class Colour(enum.Enum):
    RED = "red"
    ODD = float("nan")


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass
class Address:
    town: Any
    street: Any = None


@attrs.define
class Person:
    name: Any


class Order(msgspec.Struct):
    number: Any


def database_row() -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    row: sqlite3.Row = connection.execute("SELECT 1 AS a, 'x' AS b").fetchone()
    connection.close()
    return row


class Model:
    """Like a model of pydantic."""

    def __init__(self, **fields: Any) -> None:
        self._fields_ = fields

    def model_dump(self) -> dict[str, Any]:
        return self._fields_


class Scalar:
    """Like a scalar of numpy."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def item(self) -> Any:
        return self._value


class Array(Scalar):
    """Like an array of numpy."""

    def tolist(self) -> Any:
        return self._value


class Opaque:
    pass


NAN, INFINITY = float("nan"), math.inf
KEY = uuid.UUID(int=1)
DAY = datetime.date(2026, 1, 2)
CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = collections.deque([CIRCLE])
ROWS = [{"id": number, "name": f"name {number}", "price": number / 4} for number in range(1000)]


def row(**fields: Any) -> dict[str, Any]:
    """Return a large result in which one row has other fields."""
    rows: list[dict[str, Any]] = [*ROWS, *ROWS]
    rows[len(ROWS) - 1] = fields
    return {"rows": rows}


def inside(value: Any) -> dict[str, Any]:
    """Return a value in a dict in a list in a dict."""
    return {"a": [{"b": value}]}


SENT: dict[str, tuple[Callable[[], Any], Any]] = {
    # Results as a whole.
    "dict": (lambda: {"b": 1, "a": "x"}, {"b": 1, "a": "x"}),
    "ordered": (lambda: collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "counter": (lambda: collections.Counter([True, False, True]), {"true": 2, "false": 1}),
    "user_dict": (lambda: collections.UserDict(a=1), {"a": 1}),
    "proxy": (lambda: types.MappingProxyType({"a": 1}), {"a": 1}),
    "dataclass": (lambda: Address("Ulm"), {"town": "Ulm", "street": None}),
    "attrs": (lambda: Person("Ann"), {"name": "Ann"}),
    "struct": (lambda: Order(5), {"number": 5}),
    "model": (lambda: Model(a=1, b=DAY), {"a": 1, "b": "2026-01-02"}),
    "list": (lambda: [1, "a", {"b": None}], [1, "a", {"b": None}]),
    "empty_list": (list, []),
    "objects": (lambda: [Address("Ulm"), Order(1), Model(a=1)], [{"town": "Ulm", "street": None}, {"number": 1}, {"a": 1}]),
    "database_row": (database_row, {"a": 1, "b": "x"}),
    "database_rows": (lambda: [database_row()], [{"a": 1, "b": "x"}]),
    "deque": (lambda: collections.deque([1, 2]), [1, 2]),
    "array": (lambda: Array([1.5, 2]), [1.5, 2]),
    "namedtuple": (lambda: Point(1, 2), [1, 2]),
    "reply_of_a_list": (lambda: Reply([1, 2]), [1, 2]),
    "reply_of_a_model": (lambda: Reply(Model(a=Point(1, Name("x")))), {"a": [1, "x"]}),
    "large": (lambda: {"rows": ROWS}, {"rows": ROWS}),
    # Values.
    "text": (lambda: inside(Name("x")), inside("x")),
    "number": (lambda: inside(Number(7)), inside(7)),
    "large_number": (lambda: inside(Number(2**80)), inside(2**80)),
    "ratio": (lambda: inside(Ratio(0.5)), inside(0.5)),
    "bytes": (lambda: inside([b"\xff", bytearray(b"\xff"), memoryview(b"\xff"), Data(b"\xff")]), inside(["/w=="] * 4)),
    "enums": (lambda: inside([Level.LOW, Town.ULM, Colour.RED]), inside([1, "Ulm", "red"])),
    "points": (lambda: inside([Point(1, 2), (3, 4)]), inside([[1, 2], [3, 4]])),
    "sets": (lambda: inside([{1}, frozenset(["a"])]), inside([[1], ["a"]])),
    "collections": (
        lambda: inside([collections.deque([1]), range(2), {"a": 1}.keys(), {"a": 1}.values(), collections.UserList([1])]),
        inside([[1], [0, 1], ["a"], [1], [1]]),
    ),
    "strings": (lambda: inside([collections.UserString("x"), pathlib.PurePosixPath("/a/b")]), inside(["x", "/a/b"])),
    "scalars": (lambda: inside([Scalar(1), Scalar(Name("x")), Array(0.5), array.array("i", [1])]), inside([1, "x", 0.5, [1]])),
    "dates": (
        lambda: inside([DAY, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(1), datetime.time(1)]),
        inside(["2026-01-02", "2026-01-02T00:00:00Z", "P1D", "01:00:00"]),
    ),
    "decimal": (lambda: inside([Decimal("1.50"), Decimal("1E+400"), Decimal("-0")]), inside(["1.50", "1E+400", "-0"])),
    "uuid": (lambda: inside(KEY), inside(str(KEY))),
    "models": (lambda: inside([Model(a=Model(b=Name("x")))]), inside([{"a": {"b": "x"}}])),
    "raw": (lambda: inside(msgspec.Raw(b'{"c":null}')), inside({"c": None})),
    "nulls": (lambda: inside([None, "null", "NaN", "Infinity"]), inside([None, "null", "NaN", "Infinity"])),
    "floats": (lambda: inside([-1.7e308, 5e-324, 0.1]), inside([-1.7e308, 5e-324, 0.1])),
    "bytes_like_a_nan": (lambda: inside(["\u02ff\u7ff8", b"\xcb\x7f\xf8"]), inside(["\u02ff\u7ff8", "y3/4"])),
    # Keys.
    "integers_as_keys": (lambda: {1: 2, 3: {4: 5}}, {"1": 2, "3": {"4": 5}}),
    "texts_as_keys": (lambda: {Name("x"): 1, Town.ULM: 2}, {"x": 1, "Ulm": 2}),
    "numbers_as_keys": (lambda: {Number(1): 1, Level.LOW + 1: 2, 0.5: 3}, {"1": 1, "2": 2, "0.5": 3}),
    "other_keys": (
        lambda: {None: 0, True: 1, DAY: 2, KEY: 3, Decimal("1.5"): 4, Scalar(7): 5},
        {"null": 0, "true": 1, "2026-01-02": 2, str(KEY): 3, "1.5": 4, "7": 5},
    ),
    "same_keys_in_different_objects": (lambda: {"a": {1: 1}, "b": {"1": 1}, "1": 1}, {"a": {"1": 1}, "b": {"1": 1}, "1": 1}),
    "row_with_a_null": (lambda: row(id=None), row(id=None)),
    "row_with_words": (lambda: row(id="NaN null Infinity"), row(id="NaN null Infinity")),
}  # fmt: skip
REFUSED: dict[str, Callable[[], Any]] = {
    # Results as a whole.
    "key_that_is_a_tuple": lambda: {(1, 2): 1},
    "none": lambda: None,
    "text": lambda: "text",
    "name": lambda: Name("text"),
    "integer": lambda: 3,
    "true": lambda: True,
    "float": lambda: 0.5,
    "bytes": lambda: b"{}",
    "tuple": lambda: ({"error": "as in Flask"}, 404),
    "set": lambda: {1},
    "enum": lambda: Level.LOW,
    "date": lambda: DAY,
    "scalar": lambda: Scalar(1),
    "raw_text": lambda: msgspec.Raw(b'"x"'),
    "reply_of_a_number": lambda: Reply(5),
    "reply_of_a_reply": lambda: Reply(Reply({})),
    "type": lambda: Order,
    "event": lambda: Event(1),
    # Values.
    "reply_inside": lambda: {"x": Reply("x")},
    "reply_in_a_list": lambda: [Reply({}, 201)],
    "reply_in_a_reply": lambda: Reply({"a": [Reply("x")]}),
    "reply_in_an_object": lambda: Point(1, Reply({})),  # type: ignore[arg-type]
    "reply_among_rows": lambda: [{"a": 1}] * 2000 + [{"a": Reply({})}] + [{"a": 1}] * 2000,
    "reply_as_a_key": lambda: {Reply("x"): 1},
    "event_inside": lambda: {"e": Event(1)},
    "event_in_a_list": lambda: [Event({}, "price", 1, 5000, "all fields")],
    **{
        f"{name}_{number}": lambda number=number, wrap=wrap: wrap(number)
        for number in (NAN, -NAN, INFINITY, -INFINITY, Decimal("NaN"), Decimal("-NaN"), Decimal("sNaN"),
                       Decimal("NaN123"), Decimal("Infinity"), Decimal("-Infinity"))
        for name, wrap in {
            "inside": inside, "list": lambda x: [x], "ratio": lambda x: {"a": Ratio(x)}, "row": lambda x: row(d=x),
            "field": lambda x: {"a": Address(Person(Order(Point(1, x))))}, "key": lambda x: {x: 1},
            "item": lambda x: {"a": Scalar(x)}, "items": lambda x: {"a": Array([1, x])}, "model": lambda x: Model(a=x),
            "beside_a_key": lambda x: {1: [{2: x}]}, "large": lambda x: {"t": "x" * 10**5, "a": collections.deque([x])},
        }.items()
        if not (name == "ratio" and isinstance(number, Decimal))
    },
    "odd_enum": lambda: inside(Colour.ODD),
    "object": lambda: inside(Opaque()),
    "class": lambda: inside(Model),
    "generator": lambda: inside(x for x in [1]),
    "complex": lambda: inside(1j),
    "circle": lambda: CIRCLE,
    "surrogate": lambda: inside(Name("\ud800")),
    # Keys.
    "equal_keys": lambda: {1: 2, "1": 3},
    "equal_keys_inside": lambda: inside({1: 2, "1": 3}),
    "equal_keys_in_a_list": lambda: [{}, {1: 2, Name("1"): 3}],
    "equal_keys_true": lambda: {True: 1, "true": 2},
    "equal_keys_none": lambda: {None: 1, "null": 2},
    "equal_keys_float": lambda: {0.5: 1, "0.5": 2},
    "equal_keys_enum": lambda: {Colour.RED: 1, "red": 2},
    "equal_keys_date": lambda: {DAY: 1, "2026-01-02": 2},
    "equal_keys_bytes": lambda: {b"\xff": 1, "/w==": 2},
    "equal_keys_model": lambda: Model(a={1: 1, "1": 1}),
    "equal_keys_field": lambda: Address({1: 1, "1": 1}),
    "equal_keys_large": lambda: {"t": "x" * 10**5, "a": {1: 1, "1": 1}},
    "equal_keys_first_row": lambda: {"rows": [{1: 1, "1": 1}, *ROWS]},
    "equal_keys_many": lambda: dict.fromkeys([*range(5000), "1"], 0),
    "tuple_key": lambda: {(1, 2): 3},
    "object_key": lambda: {Opaque(): 3},
}  # fmt: skip


def returns(what: str) -> Any:
    return SENT[what][0]()


def refused(what: str) -> Any:
    return REFUSED[what]()


def yields(what: str) -> Any:
    yield SENT[what][0]()


async def awaits(what: str) -> Any:
    return SENT[what][0]()


url_patterns = (
    (r"/returns/(?P<what>.+)", returns),
    (r"/refused/(?P<what>.+)", refused),
    (r"/awaits/(?P<what>.+)", awaits),
)
