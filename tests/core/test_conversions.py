"""Tests of L{twisted_appserver.core.conversions}: text, JSON, limits, models and the messages about them."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import functools
import json
import pickle
import typing
from collections.abc import Mapping
from datetime import date, timedelta, timezone
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Unpack,
)
from urllib.parse import urlencode
from uuid import UUID

import annotated_types
import attrs
import msgspec
import pydantic
import typing_extensions
from twisted.trial.unittest import SynchronousTestCase

from tests.support.calling import FORM, JSON, call
from tests.support.properties import given, st
from twisted_appserver import Call, Router
from twisted_appserver.core.conversions.lenient_text import normalize
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.perform import perform
from twisted_appserver.errors import HTTPError
from twisted_appserver.testing import Client

T = TypeVar("T")
REFUSED = object()  # stands for a reply with 422


def taking(annotation: Any, *default: Any) -> tuple[Any, list[Any]]:
    """Return a function with a parameter C{p} of this type, and the list of the arguments it receives."""
    received: list[Any] = []

    def function(p: Any) -> dict[str, Any]:
        received.append(p)
        return {}

    function.__annotations__["p"] = annotation
    function.__defaults__ = default or None
    return function, received


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


class Kind(enum.Enum):
    SMALL = "s"


UserId = NewType("UserId", int)
DAY = datetime.datetime(2020, 2, 3, 4, 5)
EAST = DAY.replace(tzinfo=timezone(timedelta(hours=1)))
# For each type: accepted texts with their values, and texts that are refused.
TEXTS: list[tuple[Any, dict[str, Any], list[str]]] = [
    (int, {"05": 5, "+5": 5, "-05": -5, "5.": 5, "0": 0, " 5": 5}, ["", ".", "x", "5x"]),
    (int, {"9" * 30: int("9" * 30)}, ["9" * 5000]),
    (float, {".5": 0.5, "1.": 1.0, "+5": 5.0, "-.5": -0.5, "05": 5.0, "1e3": 1000.0}, ["", ".", "-", "nan"]),
    (Decimal, {".5": Decimal("0.5"), "05": Decimal(5), "1.": Decimal(1)}, ["", "x", "inf"]),
    (bool, {"on": True, "off": False, "YES": True, "no": False, "1": True, "False": False}, ["", "2", "x"]),
    (datetime.datetime, {"2020-02-03T04:05": DAY, "2020-02-03 04:05": DAY, "2020-02-03T04:05+01:00": EAST,
                         "2020-02-03T04:05:00 01:00": EAST}, ["2020-02-03T", "x", "2020-02-03T4:05"]),
    (datetime.time, {"04:05": DAY.time(), "04:05:00": DAY.time()}, ["24:01", "4:5", ""]),
    (date, {"2020-02-03": DAY.date(), " 2020-02-03 ": DAY.date()}, ["2020-02-30", "03.02.2020", ""]),
    (timedelta, {"PT90S": timedelta(seconds=90), ".5": timedelta(seconds=0.5)}, ["x", ""]),
    (UUID, {"12345678123456781234567812345678": UUID(int=0x12345678123456781234567812345678)}, ["x", ""]),
    (Colour, {"01": Colour.RED, "2": Colour.BLUE}, ["3", "RED"]),
    (Kind, {"s": Kind.SMALL, " s": Kind.SMALL}, ["SMALL"]),
    (Literal[1, 2], {"02": 2}, ["3"]),
    (Literal["a", "b"], {"a": "a"}, ["c"]),
    (UserId, {"05": 5}, ["x"]),
    (int | None, {"05": 5, "": None, "null": None}, ["x"]),
    (Optional[date], {"": None, "2020-02-03": DAY.date()}, ["x"]),  # noqa: UP045
    (str | None, {"": "", " x": " x"}, []),
    (int | float, {"05": 5, ".5": 0.5}, ["x"]),
    (date | datetime.datetime, {"2020-02-03": DAY.date(), "2020-02-03T04:05": DAY}, ["x"]),
    (str | date, {"2020-02-03": DAY.date(), "x": "x"}, []),
    (date | UUID | None, {"": None}, ["x"]),
    (list[int], {"05": [5]}, ["x"]),
    (tuple[bool, ...], {"on": (True,)}, ["x"]),
    (set[float] | None, {".5": {0.5}}, ["x"]),
    (Annotated[int, msgspec.Meta(ge=5)], {"05": 5}, ["04", "+4"]),
    (Final[int], {"05": 5}, ["x"]),
]  # fmt: skip


class ConversionTestCase(SynchronousTestCase):
    def gets(self, expected: Any, function_and_received: tuple[Any, list[Any]], **parts: Any) -> None:
        """Assert that the function receives C{expected}, or that the reply is 422."""
        function, received = function_and_received
        del received[:]
        reply = call(function, **parts)
        if expected is REFUSED:
            self.assertEqual((reply.status, received), (422, []), (reply, parts))
        else:
            self.assertEqual((reply.status, received), (200, [expected]), (reply, parts))
            self.assertIs(type(received[0]), type(expected))

    def detail(self, function: Any, status: int = 422, **parts: Any) -> str:
        reply = call(function, **parts)
        self.assertEqual(reply.status, status, reply)
        return json.loads(reply.body)["detail"]  # type: ignore[no-any-return]


class TextTests(ConversionTestCase):
    """Text is read leniently."""

    def test_text_in_the_path_is_read_leniently(self) -> None:
        for annotation, good, bad in TEXTS:
            target = taking(annotation)
            for text, expected in [*good.items(), *dict.fromkeys(bad, REFUSED).items()]:
                self.gets(expected, target, groups={"p": text})

    def test_text_in_forms_and_queries_is_read_leniently(self) -> None:
        for annotation, good, bad in TEXTS:
            target = taking(annotation)
            for text, expected in [*good.items(), *dict.fromkeys(bad, REFUSED).items()]:
                encoded = "p=" + "".join(f"%{byte:02x}" for byte in text.encode())
                self.gets(expected, target, query=encoded)
                self.gets(expected, target, body=encoded.encode(), headers=FORM)

    def test_json_is_strict(self) -> None:
        for annotation, text in ((int, "05"), (bool, "on"), (float, ".5"), (int | None, "")):
            self.gets(REFUSED, taking(annotation), body=json.dumps({"p": text}).encode(), headers=JSON)

    def test_variables_of_a_typed_rest_are_read_leniently(self) -> None:
        received: dict[str, Any] = {}

        def rest(**numbers: int) -> dict[str, Any]:
            received.update(numbers)
            return {}

        call(rest, query="a=05&b=%2B5")
        self.assertEqual(received, {"a": 5, "b": 5})
        self.assertEqual(self.detail(rest, query="c=x"), "c must be an integer, not 'x'")

    def test_plus_sign_that_was_not_encoded_is_accepted(self) -> None:
        """It arrives as a space."""
        self.gets(5, taking(int), query="p=+5")

    @given(st.text(max_size=20))
    def test_any_text_is_converted_or_gets_422(self, text: str) -> None:
        for annotation, _, _ in TEXTS:
            self.assertIn(call(taking(annotation)[0], {"p": text}).status, (200, 422))

    def test_long_text_is_refused_in_linear_time(self) -> None:
        """It is almost a number."""
        for annotation in (int, float, bool, datetime.datetime, datetime.time):
            text = "0" * 300_000 + "x"
            self.assertEqual(normalize(text, msgspec.inspect.type_info(annotation)), text)


class Address(msgspec.Struct):
    town: str
    number: int = 1


class Person(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    addresses: list[Address] = []
    kind: Literal["x", "y"] = "x"
    scores: dict[str, int] = {}


class MessageTests(ConversionTestCase):
    """A message names the place, shows the value and contains no type names of Python."""

    def test_message_about_text(self) -> None:
        for annotation, text, expected in (
            (int, "abc", "p must be an integer, not 'abc'"),
            (float, "abc", "p must be a number, not 'abc'"),
            (float, "1e999", "p must be a finite number, not '1e999'"),
            (bool, "abc", "p must be true or false, not 'abc'"),
            (int | None, "abc", "p must be an integer, not 'abc'"),
            (date, "abc", "p must be a date like 2030-01-31, not 'abc'"),
            (Literal[1, 2], "3", "p must be one of 1, 2, not '3'"),
            (Kind, "abc", "p must be 's', not 'abc'"),
            (list[int], "abc", "p[0] must be an integer, not 'abc'"),
            (Annotated[int, msgspec.Meta(ge=10)], "05", "p must be an integer >= 10, not '05'"),
            (int, "9" * 100, f"p must be an integer, not '{'9' * 56}..."),
        ):
            if annotation is int and text.startswith("9"):
                text += "x"
            self.assertEqual(self.detail(taking(annotation)[0], groups={"p": text}), expected)

    def test_message_about_json_names_the_place(self) -> None:
        for value, expected in (
            ({"name": 5}, "p.name must be text, not 5"),
            ({}, "p.name is missing"),
            ({"name": "x", "age": 1}, "p.age is not a known field"),
            ({"name": "x", "kind": "z"}, "p.kind must be one of 'x', 'y', not 'z'"),
            ({"name": "x", "addresses": [{"town": "y"}, {"town": None}]},
             "p.addresses[1].town must be text, not null"),
            ({"name": "x", "addresses": {}}, "p.addresses must be a list, not {}"),
            ({"name": "x", "scores": {"a": "1"}}, "p.scores['a'] must be an integer, not '1'"),
            ({"name": "x", "scores": {"a": 1, "b": "1"}}, "p.scores['b'] must be an integer, not '1'"),
            (None, "p must be an object, not null"),
        ):  # fmt: skip
            body = json.dumps({"p": value}).encode()
            self.assertEqual(self.detail(taking(Person)[0], body=body, headers=JSON), expected)

    def test_message_names_the_keys_of_dicts(self) -> None:
        many = {str(number): "5" for number in range(1000)}
        for annotation, value, expected in (
            (dict[str, int], {"a": 1, "b c": "v", "d": "w"}, "p['b c'] must be an integer, not 'v'"),
            (list[dict[str, date]], [{}, {"a": "x"}], "p[1]['a'] must be a date like 2030-01-31, not 'x'"),
            (
                dict[str, dict[str, list[int]]],
                {"a": {"b": [1]}, "c": {"d": [2], "e": [3, "v"], "f": ["w"]}},
                "p['c']['e'][1] must be an integer, not 'v'",
            ),
            (dict[str, Person], {"x": {"name": "y", "scores": {"z": 0.5}}},
             "p['x'].scores['z'] must be an integer, not 0.5"),
            (dict[str, Person], {"x": {}}, "p['x'].name is missing"),
            (dict[str, Decimal], {"a": 1, "b": "x"}, "p['b'] must be a decimal number, not 'x'"),
            (dict[int, int], {"1": 1, "k": 1}, "p has a key that must be an integer, not 'k'"),
            (dict[str, dict[int, int]], {"a": {"k": 1}}, "p['a'] has a key that must be an integer, not 'k'"),
            (dict[str, int], {"0": 5, **many}, "p['0'] must be an integer, not '5'"),
            (dict[str, bool], {**many, "0": True}, "p['1'] must be true or false, not '5'"),
            (dict[str, Decimal | Person], {"a": 1, "b": []}, ""),
        ):  # fmt: skip
            function, _ = taking(annotation, None)
            body = json.dumps({"p": value}).encode()
            detail = self.detail(function, body=body, headers=JSON)
            if expected:
                self.assertEqual(detail, expected)
            else:
                self.assertIn("p['b'] must be", detail)

    def test_message_about_a_repeated_field(self) -> None:
        for annotation in (int, str, date, int | None, Decimal, pydantic.PositiveInt, Literal["a"]):
            detail = self.detail(taking(annotation)[0], query="p=5&p=6")
            self.assertEqual(detail, "p is given twice; give it once", annotation)
        detail = self.detail(taking(Data)[0], query=urlencode({"name": ["x", "y", "z"]}, doseq=True))
        self.assertEqual(detail, "name is given 3 times; give it once")
        detail = self.detail(taking(Model)[0], query=urlencode({"name": "x", "n": [1, 2]}, doseq=True))
        self.assertEqual(detail, "n is given twice; give it once")

    def test_message_about_text_for_a_tuple(self) -> None:
        self.assertEqual(
            self.detail(taking(tuple[int, str])[0], query="p=5"), 'p must be a list of 2 items, not ["5"]'
        )
        self.gets((5, "x"), taking(tuple[int, str]), query="p=05&p=x")
        self.gets((5,), taking(tuple[int]), query="p=05")
        self.gets(5, taking(tuple[int, int] | int), query="p=5")

    def test_message_of_the_class_is_passed_on(self) -> None:

        @dataclasses.dataclass
        class Even:
            n: int

            def __post_init__(self) -> None:
                if self.n % 2:
                    raise ValueError("n must be even")

        Even.__annotations__["n"] = int
        body = b'{"p": {"n": 1}}'
        self.assertEqual(self.detail(taking(Even)[0], body=body, headers=JSON), "p: n must be even")


class Price(msgspec.Struct):
    amount: Decimal
    count: int = 1
    parts: list[Price] = []


class Money(TypedDict):
    amount: Decimal


DIGITS = "1234567890123456.78"
EXACT = Decimal(DIGITS)


class DecimalTests(ConversionTestCase):
    """A Decimal keeps all digits of JSON."""

    def test_decimal_keeps_all_digits(self) -> None:
        for annotation, value, expected in (
            (Decimal, DIGITS, EXACT),
            (Decimal, "1.50", Decimal("1.50")),
            (Decimal, "1e400", Decimal("1e400")),
            (Decimal, "9" * 30, Decimal("9" * 30)),
            (int, "9" * 30, int("9" * 30)),
            (Decimal | None, DIGITS, EXACT),
            (Annotated[Decimal, annotated_types.Gt(0)], DIGITS, EXACT),
            (list[Decimal], f"[{DIGITS}, 1]", [EXACT, Decimal(1)]),
            (dict[str, Decimal], f'{{"a": {DIGITS}}}', {"a": EXACT}),
            (dict[str, list[Decimal]], f'{{"a": [{DIGITS}]}}', {"a": [EXACT]}),
            (Price, f'{{"amount": {DIGITS}, "parts": [{{"amount": {DIGITS}}}]}}',
             Price(EXACT, parts=[Price(EXACT)])),
            (Price, f'{{"amount": {DIGITS}, "count": 2.0}}', Price(EXACT, 2)),
            (Money, f'{{"amount": {DIGITS}}}', {"amount": EXACT}),
            (date | Decimal, DIGITS, EXACT),
        ):  # fmt: skip
            body = f'{{"other": 1.5, "p": {value}}}'.encode()
            self.gets(expected, taking(annotation), body=body, headers=JSON)

    def test_decimal_in_the_body_object_keeps_all_digits(self) -> None:
        target = taking(Price)
        self.gets(Price(EXACT), target, body=f'{{"amount": {DIGITS}}}'.encode(), headers=JSON)

    def test_decimal_in_the_rest_keeps_all_digits(self) -> None:
        found: dict[str, Any] = {}

        def rest(name: str, **prices: Decimal) -> dict[str, Any]:
            found.update(prices)
            return {}

        call(rest, body=f'{{"name": "x", "a": {DIGITS}}}'.encode(), headers=JSON)
        self.assertEqual(found, {"a": EXACT})

    def test_other_parameters_receive_floats(self) -> None:
        def both(p: Decimal, q: float, r, everything: dict) -> dict[str, Any]:  # type: ignore[no-untyped-def,type-arg]
            return {"q": repr(q), "r": repr(r), "all": repr(everything["r"])}

        body = b'{"p": 1.0, "q": 2, "r": [1.50]}'
        reply = call(both, body=body, headers=JSON)
        self.assertEqual(json.loads(reply.body), {"q": "2.0", "r": "[1.5]", "all": "[1.5]"})

    def test_malformed_json_gets_400(self) -> None:
        """The message is the same as without decimals, and nesting is limited."""
        for body in (
            b"{", b'{"q": "\xff"}', b'{"q": "\\ud800"}', b'{"q": NaN}', b"[1]", b'{"q": 1e400}',
            b'{"q":' + b"[" * 200 + b"]" * 200 + b"}",
        ):  # fmt: skip

            def two(p: Decimal = EXACT, q: Any = None) -> dict[str, Any]:
                return {}

            self.detail(two, 400, body=body, headers=JSON)

    def test_nan_in_objects_is_refused(self) -> None:
        for annotation in (Price, Money):
            body = b'{"p": {"amount": "NaN"}}'
            detail = self.detail(taking(annotation)[0], body=body, headers=JSON)
            self.assertIn("must be a finite number", detail)


@dataclasses.dataclass
class Data:
    name: str
    n: int = 1


@attrs.define
class Attrs:
    name: str
    n: int = 1


class Dict(TypedDict):
    name: str
    n: NotRequired[int]


class Struct(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    n: int = 1
    tags: list[str] = []


class Model(pydantic.BaseModel):
    name: str
    n: int = pydantic.Field(1, ge=1)
    amount: Decimal = Decimal(0)
    tags: list[str] = []


class Optionals(pydantic.BaseModel):
    age: Annotated[int | None, pydantic.Field(ge=1)]
    born: date | None = None
    name: str | None = None
    n: int = 1


@dataclasses.dataclass
class Sized:
    size: Annotated[int, pydantic.Field(ge=1)]
    tags: list[str] = dataclasses.field(default_factory=list)


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    day: date
    amount: Decimal = Decimal(0)
    ratio: float

    @pydantic.field_validator("ratio")
    @classmethod
    def small(cls, ratio: float) -> float:
        if ratio >= 2:
            raise ValueError("too large")
        return ratio


OBJECTS: dict[Any, Any] = {
    Data: lambda **fields: Data(**fields),
    Attrs: lambda **fields: Attrs(**fields),
    Dict: dict,
    Struct: lambda **fields: Struct(**fields),
    Model: lambda **fields: Model(**fields),
}


class BodyObjectTests(ConversionTestCase):
    """The only parameter that takes an object may receive the whole body."""

    def test_body_or_query_fills_the_only_object(self) -> None:
        for kind, make in OBJECTS.items():
            for annotation in (kind, kind | None, Annotated[kind, "of the order"]):
                target = taking(annotation)
                self.gets(make(name="x"), target, body=b'{"name": "x"}', headers=JSON)
                self.gets(make(name="x"), target, body=b'{"p": {"name": "x"}}', headers=JSON)
                self.gets(make(name="x", n=5), target, body=b"name=x&n=05", headers=FORM)
                self.gets(make(name="x"), target, query="name=x")
                self.gets(REFUSED, target, body=b'{"name": "x", "n": "x"}', headers=JSON)
                self.gets(REFUSED, target, body=b"{}", headers=JSON)

    def test_message_names_field(self) -> None:
        for kind in OBJECTS:
            detail = self.detail(taking(kind)[0], body=b'{"name": "x", "n": "x"}', headers=JSON)
            self.assertTrue(detail.startswith("n must be "), detail)
            detail = self.detail(taking(kind)[0], body=b"{}", headers=JSON)
            self.assertEqual(detail, "name is missing")

    def test_form_fields_fill_lists(self) -> None:
        for kind in (Struct, Model):
            make = OBJECTS[kind]
            for form, tags in ((b"name=x&tags=a", ["a"]), (b"name=x&tags=a&tags=b", ["a", "b"])):
                self.gets(make(name="x", tags=tags), taking(kind), body=form, headers=FORM)

    def test_fields_of_other_parameters_are_left_out(self) -> None:
        """Groups are left out too, even if the object forbids unknown fields."""

        def put(number: int, item: Struct, note: str = "", **rest: Any) -> dict[str, Any]:
            return {"number": number, "item": item, "note": note, "rest": rest}

        reply = call(put, {"number": "05"}, body=b'{"name": "x", "note": "y"}', headers=JSON)
        item = {"name": "x", "n": 1, "tags": []}
        self.assertEqual(json.loads(reply.body), {"number": 5, "item": item, "note": "y", "rest": {}})

    def test_object_and_decimal_go_together(self) -> None:
        """Either of them may need exact numbers."""

        def first(item: Struct, price: Decimal) -> dict[str, Any]:
            return {"name": item.name, "price": str(price)}

        def second(item: Price, note: str = "") -> dict[str, Any]:
            return {"name": note, "price": str(item.amount)}

        for function, body in (
            (first, f'{{"name": "x", "price": {DIGITS}}}'),
            (first, f'{{"item": {{"name": "x"}}, "price": {DIGITS}}}'),
            (second, f'{{"note": "x", "amount": {DIGITS}}}'),
        ):
            reply = call(function, body=body.encode(), headers=JSON)
            self.assertEqual(json.loads(reply.body), {"name": "x", "price": DIGITS})

    def test_query_does_not_hide_the_body(self) -> None:
        """A query may contain the name of the parameter: text cannot be an object."""

        def find(order: Struct, page: int = 1) -> dict[str, Any]:
            return {"name": order.name, "page": page}

        for body, kind in ((b'{"name": "x"}', JSON), (b'{"order": {"name": "x"}}', JSON), (b"name=x", FORM)):
            reply = call(find, body=body, headers=kind, query="order=asc&page=2")
            self.assertEqual(json.loads(reply.body), {"name": "x", "page": 2})
        self.assertIn("order must be an object", self.detail(find, query="order=asc&name=x"))

    def test_member_with_the_name_of_the_parameter_is_taken_by_name(self) -> None:
        def find(order: Struct) -> dict[str, Any]:
            return {}

        detail = self.detail(find, body=b'{"name": "x", "order": 5}', headers=JSON)
        self.assertEqual(detail, "order must be an object, not 5")

    def test_class_with_a_field_of_the_same_name_is_filled_by_name_only(self) -> None:
        """The router has a note about it, which the server logs at start-up."""

        def find(name: Struct) -> dict[str, Any]:
            return {"name": name.name}

        notes = Router([(r"/", find)]).notes
        self.assertEqual(len(notes), 1)
        self.assertIn("name is filled by name only, because its class has a field 'name'", notes[0])
        reply = call(find, body=b'{"name": {"name": "x"}}', headers=JSON)
        self.assertEqual(json.loads(reply.body), {"name": "x"})
        self.assertIn("name must be an object", self.detail(find, body=b'{"name": "x"}', headers=JSON))

    def test_default_is_used_without_fields(self) -> None:

        def find(filter: Struct | None = None, page: int = 1) -> dict[str, Any]:
            return {"filter": filter and filter.name, "page": page}

        for query, name, page in (("", None, 1), ("page=2", None, 2), ("name=x", "x", 1), ("utm=1", None, 1)):
            self.assertEqual(json.loads(call(find, query=query).body), {"filter": name, "page": page})

    def test_two_objects_are_filled_by_name(self) -> None:

        def both(a: Data, b: Struct) -> dict[str, Any]:
            return {"a": a.name, "b": b.name}

        self.assertEqual(self.detail(both, body=b'{"name": "x"}', headers=JSON), "a is missing")
        body = b'{"a": {"name": "x"}, "b": {"name": "y"}}'
        self.assertEqual(json.loads(call(both, body=body, headers=JSON).body), {"a": "x", "b": "y"})


def positive(value: int) -> bool:
    return value > 0


@dataclasses.dataclass
class Defaulted:
    n: str
    c: int = 5
    d: date | None = None
    listed: list[int] = dataclasses.field(default_factory=list)
    fixed: int = dataclasses.field(default=7, init=False)


@dataclasses.dataclass
class Derived(Defaulted):
    e: str = "e"

    def __post_init__(self) -> None:
        vars(self)["made"] = self.c + 1


@dataclasses.dataclass(frozen=True)
class Boxed(Generic[T]):
    item: T
    at: Decimal = Decimal(1)


class Holder(msgspec.Struct):
    held: Defaulted
    more: dict[str, Defaulted | None] = {}


@attrs.define(slots=False)
class Ordered:
    z: int
    a: int = 1


WHOLE_DEFAULTED = {"n": "1", "c": 5, "d": None, "listed": [], "fixed": 7}


class DefaultTests(ConversionTestCase):
    """Fields of dataclasses that were not sent have their defaults."""

    def returned(self, annotation: Any, **parts: Any) -> Any:
        """Return the reply of a function that returns its only argument."""

        def function(p: Any) -> Any:
            return {"p": p}

        function.__annotations__["p"] = annotation
        reply = call(function, **parts)
        self.assertEqual(reply.status, 200, reply)
        return json.loads(reply.body)["p"]

    def test_result_has_all_fields_in_order(self) -> None:
        found = self.returned(Defaulted, query="n=1")
        self.assertEqual(list(found.items()), list(WHOLE_DEFAULTED.items()))
        found = self.returned(Defaulted, body=b'{"c": 5, "n": "1"}', headers=JSON)
        self.assertEqual(list(found.items()), list(WHOLE_DEFAULTED.items()))
        found = self.returned(Ordered, body=b'{"a": 2, "z": 1}', headers=JSON)
        self.assertEqual(list(found.items()), [("z", 1), ("a", 2)])

    def test_vars_copy_and_pickle(self) -> None:
        function, received = taking(Defaulted)
        self.assertEqual(call(function, query="n=1").status, 200)
        for each in (received[0], copy.copy(received[0]), pickle.loads(pickle.dumps(received[0]))):
            self.assertEqual(vars(each), WHOLE_DEFAULTED)

    def test_own_values_and_post_init(self) -> None:
        function, received = taking(Derived)
        self.assertEqual(call(function, query="n=1&c=2").status, 200)
        self.assertEqual(vars(received[0]), {**WHOLE_DEFAULTED, "c": 2, "e": "e", "made": 3})

    def test_nested_instances_are_completed(self) -> None:
        one = b'{"n": "1"}'
        for annotation, sent, expected in (
            (list[Defaulted], b"[%s]" % one, [WHOLE_DEFAULTED]),
            (tuple[Defaulted, int], b"[%s, 2]" % one, [WHOLE_DEFAULTED, 2]),
            (dict[str, Defaulted], b'{"a": %s}' % one, {"a": WHOLE_DEFAULTED}),
            (Defaulted | None, one, WHOLE_DEFAULTED),
            (Boxed[Defaulted], b'{"item": %s}' % one, {"item": WHOLE_DEFAULTED, "at": "1"}),
            (
                Holder,
                b'{"held": %s, "more": {"x": %s, "y": null}}' % (one, one),
                {"held": WHOLE_DEFAULTED, "more": {"x": WHOLE_DEFAULTED, "y": None}},
            ),
        ):
            body = b'{"p": %s}' % sent
            self.assertEqual(self.returned(annotation, body=body, headers=JSON), expected, annotation)


class Group(annotated_types.GroupedMetadata):
    """A group of limits."""

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Any:
        return iter([annotated_types.Ge(5), annotated_types.Le(7)])


class Renamed(msgspec.Struct, rename="camel"):
    my_name: Annotated[str, annotated_types.MinLen(2)]


class Limited(msgspec.Struct):
    count: Annotated[int, annotated_types.Ge(1)]
    inner: list[Limited] = []


class LimitTests(ConversionTestCase):
    """The metadata of annotated_types is checked."""

    CASES: list[tuple[Any, list[str], list[str]]] = [
        (Annotated[int, annotated_types.Ge(100)], ["100", "0100"], ["1"]),
        (Annotated[int, annotated_types.Gt(1), annotated_types.Lt(5)], ["2"], ["1", "5"]),
        (Annotated[float, annotated_types.Interval(ge=0, le=1)], [".5"], ["1.5"]),
        (Annotated[Decimal, annotated_types.MultipleOf(Decimal("0.5"))], ["1.5"], ["1.7"]),
        (Annotated[date, annotated_types.Ge(date(2020, 1, 1))], ["2020-01-01"], ["2019-12-31"]),
        (Annotated[str, annotated_types.Len(2, 3)], ["ab", "abc"], ["a", "abcd"]),
        (Annotated[str, annotated_types.MinLen(2)] | None, ["ab"], ["a"]),
        (Annotated[int | None, annotated_types.Ge(1)], ["", "1"], ["0"]),
        (Annotated[str, annotated_types.Predicate(str.isupper)], ["A"], ["a"]),
        (annotated_types.LowerCase[str], ["a"], ["A"]),
        (list[Annotated[int, annotated_types.Le(5)]], ["5"], ["6"]),
        (Annotated[list[int], annotated_types.MaxLen(0)], [], ["1"]),
        (pydantic.PositiveInt, ["1"], ["0"]),
        (Annotated[int, annotated_types.Predicate(annotated_types.Not(positive))], ["0"], ["1"]),
        (Annotated[int, Group()], ["5"], ["4", "8"]),
        (pydantic.conint(ge=3, multiple_of=2), ["4"], ["3", "2"]),
        (Annotated[datetime.datetime, annotated_types.Timezone(...)],
         ["2020-02-03T04:05Z"], ["2020-02-03T04:05"]),
        (NewType("Positive", Annotated[int, annotated_types.Gt(0)]), ["1"], ["0"]),  # type: ignore[valid-newtype]
    ]  # fmt: skip

    def test_limits_are_checked(self) -> None:
        for annotation, good, bad in self.CASES:
            function, received = taking(annotation)
            for text in good:
                self.assertEqual(call(function, {"p": text}).status, 200, (annotation, text))
            del received[:]
            for text in bad:
                self.assertEqual(call(function, {"p": text}).status, 422, (annotation, text))
            self.assertEqual(received, [])

    def test_message_shows_the_limit(self) -> None:
        function = taking(Annotated[int, annotated_types.Ge(100)])[0]
        self.assertEqual(self.detail(function, query="p=1"), "p must be at least 100, not 1")
        function = taking(Annotated[int, annotated_types.Predicate(positive)])[0]
        self.assertEqual(self.detail(function, query="p=0"), "p must satisfy positive, not 0")

    def test_limits_of_fields_are_checked(self) -> None:
        function = taking(Limited)[0]
        for body, expected in (
            (b'{"count": 0}', "count must be at least 1, not 0"),
            (b'{"count": 1, "inner": [{"count": 0}]}', "inner[0].count must be at least 1, not 0"),
            (b'{"p": {"count": 0}}', "p.count must be at least 1, not 0"),
        ):
            self.assertEqual(self.detail(function, body=body, headers=JSON), expected)
        self.assertEqual(
            call(function, body=b'{"count": 1, "inner": [{"count": 1}]}', headers=JSON).status, 200
        )

    def test_message_names_the_field_as_sent(self) -> None:
        detail = self.detail(taking(Renamed)[0], body=b'{"myName": "x"}', headers=JSON)
        self.assertEqual(detail, "myName must have a length of at least 2, not 'x'")

    def test_limits_in_mappings_and_tuples_are_checked(self) -> None:
        small = Annotated[int, annotated_types.Lt(5)]
        for annotation, value, path in (
            (dict[str, small], {"a": 5}, "['a']"), (tuple[str, small], ["a", 5], "[1]"),
            (list[tuple[small, ...]], [[1], [1, 5]], "[1][1]"),
        ):  # type: ignore[valid-type]  # fmt: skip
            body = json.dumps({"p": value}).encode()
            detail = self.detail(taking(annotation)[0], body=body, headers=JSON)
            self.assertEqual(detail, f"p{path} must be less than 5, not 5")

    def test_unsupported_limit_is_refused_at_start_up(self) -> None:
        """The message says what to use instead."""
        zone = Annotated[datetime.datetime, annotated_types.Timezone("UTC")]
        self.assertIn("msgspec.Meta", str(self.assertRaises(TypeError, Handler, taking(zone)[0])))


class PydanticTests(ConversionTestCase):
    """Types of pydantic are validated by pydantic."""

    def test_pydantic_field_in_an_annotation(self) -> None:
        target = taking(Annotated[int, pydantic.Field(ge=100)])
        self.gets(100, target, query="p=0100")
        self.gets(REFUSED, target, query="p=1")
        self.gets(REFUSED, target, body=b'{"p": 1}', headers=JSON)
        self.assertEqual(
            self.detail(target[0], query="p=1"), "p must be greater than or equal to 100, not '1'"
        )

    def test_pydantic_field_as_default(self) -> None:
        target = taking(int, pydantic.Field(5, le=6))
        self.gets(5, target)
        self.gets(6, target, query="p=6")
        self.gets(REFUSED, target, query="p=7")
        self.gets([], taking(list[int], pydantic.Field(default_factory=list)))
        self.gets(REFUSED, taking(int, pydantic.Field(ge=1)))
        self.gets(5, taking(Annotated[int, pydantic.Field(5)]))

    def test_pydantic_model_is_validated(self) -> None:
        model = Model(name="x", amount=EXACT)
        text = f'{{"name": "x", "amount": {DIGITS}}}'
        for annotation, value, expected in (
            (Model, text, model), (list[Model], f"[{text}]", [model]), (Model | None, text, model),
            (dict[str, Model], f'{{"a": {text}}}', {"a": model}),
        ):  # fmt: skip
            self.gets(expected, taking(annotation), body=f'{{"p": {value}}}'.encode(), headers=JSON)
        self.gets(None, taking(Model | None, None), body=b'{"p": null}', headers=JSON)
        self.gets(None, taking(Model | None, None))

    def test_message_lists_all_faults(self) -> None:
        body = b'{"p": [{"name": 5, "n": 0}, {}]}'
        self.assertEqual(
            self.detail(taking(list[Model])[0], body=body, headers=JSON),
            "p[0].name must be a valid string, not 5; p[0].n must be greater than or equal to 1, not 0; "
            "p[1].name is missing",
        )

    def test_repeated_field_for_one_value_gets_422(self) -> None:
        target = taking(Annotated[list[int], pydantic.Field(max_length=2)])
        self.gets([5], target, query="p=05")
        self.gets([1, 2], target, query="p=1&p=2")
        self.gets(REFUSED, target, query="p=1&p=2&p=3")

    def test_nan_is_refused(self) -> None:
        self.gets(REFUSED, taking(Annotated[float, pydantic.Field(ge=0)]), query="p=inf")

    def test_strict_model_accepts_json(self) -> None:
        """It accepts text for types that JSON does not have, and numbers with many digits."""
        good = f'{{"day": "2020-02-03", "amount": {DIGITS}, "ratio": 1.50}}'
        self.gets(
            Strict(day=DAY.date(), amount=EXACT, ratio=1.5), taking(Strict), body=good.encode(), headers=JSON
        )
        self.gets(REFUSED, taking(Strict), body=b'{"day": "2020-02-03", "ratio": "1.5"}', headers=JSON)
        self.gets(Strict(day=DAY.date(), ratio=0.5), taking(Strict), query="day=2020-02-03&ratio=.5")

    def test_empty_text_is_none(self) -> None:
        """An input of a form that was left empty is None for pydantic's models as for dataclasses."""
        form = urlencode({"name": "", "age": "", "born": "", "n": "5"}).encode()
        function, received = taking(Optionals)
        for place in ({"query": form.decode()}, {"body": form, "headers": FORM}):
            self.assertEqual(call(function, **place).status, 200)
            self.assertEqual(received.pop(), Optionals(name="", age=None, born=None, n=5))
        self.assertEqual(call(function, body=b'{"age": ""}', headers=JSON).status, 422)
        detail = self.detail(function, query="age=&n=")
        self.assertTrue(detail.startswith("n must be a valid integer"), detail)
        self.gets(None, taking(pydantic.PositiveInt | None), query="p=")
        self.gets(REFUSED, taking(pydantic.PositiveInt), query="p=")

    def test_types_of_pydantic_are_converted(self) -> None:
        """msgspec does not know them."""
        self.gets([1, 2], taking(pydantic.Json[list[int]]), query="p=[1,2]")
        self.gets(pydantic.SecretStr("x"), taking(pydantic.SecretStr), query="p=x")
        self.gets(REFUSED, taking(pydantic.HttpUrl), query="p=x")

    def test_message_of_a_validator_is_passed_on(self) -> None:
        body = b'{"day": "2020-02-03", "ratio": 2}'
        self.assertEqual(self.detail(taking(Strict)[0], body=body, headers=JSON), "ratio: too large (2)")

    def test_dataclass_may_have_pydantic_fields(self) -> None:
        target = taking(Sized)
        self.gets(Sized(2, ["a"]), target, body=b"size=02&tags=a", headers=FORM)
        self.assertEqual(
            self.detail(target[0], body=b'{"size": 0}', headers=JSON),
            "size must be greater than or equal to 1, not 0",
        )

    def test_pydantic_dataclass_is_validated(self) -> None:
        @pydantic.dataclasses.dataclass
        class Point:
            x: int = pydantic.Field(ge=0)

        self.gets(Point(1), taking(Point), body=b'{"x": 1}', headers=JSON)
        self.gets(REFUSED, taking(Point), body=b'{"x": -1}', headers=JSON)

    def test_mixture_with_msgspec_is_refused_at_start_up(self) -> None:
        """The message says what to use instead."""

        class Mixed(msgspec.Struct):
            model: Model

        Mixed.__annotations__["model"] = Model
        for annotation in (Mixed, Annotated[int, pydantic.Field(ge=1), msgspec.Meta(le=5)]):
            error = str(self.assertRaises(TypeError, Handler, taking(annotation)[0]))
            self.assertIn("msgspec.Meta", error)
            self.assertNotIn("\n", error)
        self.assertRaises(TypeError, Handler, taking(int, pydantic.Field(5, alias="q"))[0])

    def test_field_of_a_class_as_default_is_refused(self) -> None:
        for default in (msgspec.field(default=5), dataclasses.field(default=5), attrs.field(default=5)):
            self.assertIn("field()", str(self.assertRaises(TypeError, Handler, taking(int, default)[0])))


def in_list(p: list["Later"]) -> Any:  # noqa: UP037
    return {"p": repr(p)}


def in_dict(p: dict[str, "Later"]) -> Any:  # noqa: UP037
    return {"p": repr(p)}


def optional(p: Optional["Later"] = None) -> Any:  # noqa: UP037, UP045
    return {"p": repr(p)}


def annotated(p: Annotated["Later", "of the order"]) -> Any:  # noqa: UP037
    return {"p": repr(p)}


def textual(p: "Annotated[list[Later], msgspec.Meta(min_length=1)]") -> Any:  # noqa: UP037
    return {"p": repr(p)}


# The annotations of this module are strings; these have references inside of real types.
in_list.__annotations__["p"] = list["Later"]
in_dict.__annotations__["p"] = dict[str, "Later"]
optional.__annotations__["p"] = Optional["Later"]
annotated.__annotations__["p"] = Annotated["Later", "of the order"]


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Methods:
    def method(self, p: list["Later"]) -> Any:  # noqa: UP037
        return {"p": repr(p)}

    class Inner(msgspec.Struct):
        x: int

    def of_inner(self, p: list["Inner"]) -> Any:  # noqa: UP037
        return {"p": repr(p)}

    method.__annotations__["p"] = list["Later"]
    of_inner.__annotations__["p"] = list["Inner"]
    __call__ = method


class Later(msgspec.Struct):
    x: int
    children: list["Later"] = []  # noqa: UP037


Alias = typing_extensions.TypeAliasType("Alias", list["Later"])
if typing.TYPE_CHECKING:
    from socket import socket

    from twisted.internet import defer


def checking_only(p: "socket") -> Any: ...  # noqa: UP037


def checking_only_result(p: int) -> "socket":  # noqa: UP037
    return {"p": p}  # type: ignore[return-value]


def checking_only_deferred() -> "defer.Deferred[dict[str, Any]]":  # noqa: UP037
    raise NotImplementedError


class ReferenceTests(ConversionTestCase):
    """Forward references are resolved."""

    LIST = b'{"p": [{"x": 1, "children": [{"x": 2}]}]}'

    def test_forward_references_are_resolved_in_every_position(self) -> None:
        later = Later(1, [Later(2)])
        one = b'{"p": {"x": 1, "children": [{"x": 2}]}}'
        for function, body, expected in (
            (in_list, self.LIST, [later]), (in_dict, b'{"p": {"a": {"x": 1}}}', {"a": Later(1)}),
            (optional, one, later), (annotated, one, later), (textual, self.LIST, [later]),
        ):  # fmt: skip
            reply = call(function, body=body, headers=JSON)
            self.assertEqual(json.loads(reply.body), {"p": repr(expected)})
            self.assertEqual(call(function, body=b'{"p": {"x": "1"}}', headers=JSON).status, 422)

    def test_forward_references_of_callables_are_resolved(self) -> None:
        for function in (
            functools.partial(in_list), functools.partial(functools.partial(in_list)), decorated(in_list),
            decorated(decorated(in_list)), functools.partial(decorated(in_list)), Methods().method, Methods(),
            decorated(Methods().method), functools.partial(Methods().method), functools.partial(Methods()),
        ):  # fmt: skip
            reply = call(function, body=self.LIST, headers=JSON)
            self.assertEqual(json.loads(reply.body), {"p": repr([Later(1, [Later(2)])])}, function)

    def test_annotation_may_name_a_class_in_its_class(self) -> None:
        reply = call(Methods().of_inner, body=b'{"p": [{"x": 1}]}', headers=JSON)
        self.assertEqual(reply.status, 200, reply)

    def test_aliases_are_resolved(self) -> None:
        for annotation in (Alias, Alias | None, Annotated[Alias, "x"], dict[str, Alias]):
            Handler(taking(annotation)[0])
        self.gets([Later(1)], taking(Alias), body=b'{"p": [{"x": 1}]}', headers=JSON)

    def test_name_that_only_type_checkers_import_is_refused(self) -> None:
        error = str(self.assertRaises(TypeError, Handler, checking_only))
        self.assertIn("TYPE_CHECKING", error)
        self.assertIn("socket", error)
        self.assertNotIn("\n", error)
        self.assertEqual(call(checking_only_result, query="p=1").status, 200)
        self.assertEqual(Handler(checking_only_deferred).executor, "inline")


class DictTests(ConversionTestCase):
    """Some parameters receive all variables."""

    def test_annotated_mapping_receives_all_variables(self) -> None:
        for annotation in (
            dict, Mapping, typing.Dict, dict[str, Any], Mapping[str, object], Annotated[dict, "x"],  # noqa: UP006
        ):  # fmt: skip
            self.gets({"a": "1", "p": "2"}, taking(annotation), query="a=1&p=2")
            self.gets({"p": 1, "b": "2"}, taking(annotation), body=b'{"p": 1}', headers=JSON, query="b=2")

    def test_dict_next_to_other_parameters_receives_all_variables(self) -> None:
        def function(a: int, everything: dict) -> dict[str, Any]:  # type: ignore[type-arg]
            return {"a": a, "all": everything}

        reply = call(function, {"a": "05"}, query="b=2")
        self.assertEqual(json.loads(reply.body), {"a": 5, "all": {"a": "05", "b": "2"}})

    def test_json_object_with_its_name_replaces_all_variables(self) -> None:
        """This applies to a dict with types, and to one next to other parameters."""
        self.gets({"a": 1}, taking(dict[str, int]), body=b'{"p": {"a": 1}}', headers=JSON)
        self.gets({"a": 1}, taking(dict[str, Any]), body=b'{"p": {"a": 1}}', headers=JSON)
        self.gets({"p": {"a": 1}}, taking(dict), body=b'{"p": {"a": 1}}', headers=JSON)
        self.gets(REFUSED, taking(dict[str, int]), query="a=1")

    def test_only_unannotated_parameter_receives_all_variables(self) -> None:
        """As in the article: a group has no other parameter."""

        def find(variables):  # type: ignore[no-untyped-def]
            return variables

        handler = Handler(find, ("n",))
        self.assertIn("variables receives all variables", handler.arguments.doubtful)
        self.assertIn("'n'", handler.arguments.doubtful)
        self.assertEqual(json.loads(call(find, {"n": "5"}, query="a=1").body), {"a": "1", "n": "5"})
        self.assertEqual(Handler(find).notes, [])
        self.assertEqual(self.detail(find, query="a=1"), "variables is missing")

    def test_group_without_a_parameter_is_refused(self) -> None:
        def two(a, b=1):  # type: ignore[no-untyped-def]
            return {}

        def typed(m: int) -> Any: ...

        for function in (two, typed):
            self.assertIn("'n'", str(self.assertRaises(TypeError, Handler, function, ("n",))))

    def test_group_for_an_object_is_refused(self) -> None:
        """A group is text, and no object is made of text."""
        for annotation in (Struct, Data, dict[str, int], Struct | None):
            error = str(self.assertRaises(TypeError, Handler, taking(annotation)[0], ("p",)))
            self.assertIn("the group 'p' is text", error)
        self.gets({"p": "1"}, taking(dict), groups={"p": "1"})

    def test_keys_of_an_unpacked_typed_dict_are_parameters(self) -> None:

        def function(**fields: Unpack[Dict]) -> dict[str, Any]:
            return {**fields}

        self.assertEqual(json.loads(call(function, query="name=x&n=05&z=1").body), {"name": "x", "n": 5})
        self.assertEqual(self.detail(function, query="n=5"), "name is missing")


class RawBodyTests(ConversionTestCase):
    """A function that takes the Call receives a body without fields unchanged."""

    def test_binary_body_labelled_as_a_form_reaches_the_function(self) -> None:
        """The function takes the Call. Other functions get 400."""
        binary = b"\x89PNG\r\n\x1a\n\xff%zz&=&"

        def takes(call: Call, note: str = "none") -> dict[str, Any]:
            return {"length": len(call.body), "note": note}

        def takes_group(call: Call, n: int) -> dict[str, Any]:
            return {"length": len(call.body), "note": str(n)}

        def takes_rest(call: Call, **rest: Any) -> dict[str, Any]:
            return {"length": len(call.body), "note": rest["note"]}

        many = b"&".join([b"a=1"] * 2000)
        for body in (binary, many):
            for headers in (FORM, {}, {"content-type": "image/png"}):
                parts: dict[str, Any] = {"body": body, "headers": headers}
                for function, more in (
                    (takes, {"query": "note=5"}), (takes_rest, {"query": "note=5"}),
                    (takes_group, {"groups": {"n": "05"}}),
                ):  # fmt: skip
                    reply = call(function, **parts, **more)
                    self.assertEqual(json.loads(reply.body), {"length": len(body), "note": "5"}, reply)
        self.detail(taking(int)[0], 400, body=binary, headers=FORM)
        self.assertRaises(HTTPError, Handler(taking(int)[0]).run, Call("POST", "/", body=binary))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
    | st.sampled_from(["", "05", "nan", "2020-02-03", "2020-02-03T04:05", "on", "null", 10**400]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "n", "tags", "amount", "count", "inner", "parts"]), inner),
    max_leaves=6,
)  # fmt: skip


class FaultTests(SynchronousTestCase):
    """No request causes an error in the conversion itself."""

    def setUp(self) -> None:
        annotations = [row[0] for row in (*TEXTS, *LimitTests.CASES)]
        annotations += [*OBJECTS, Price, Limited, Person, Strict, Sized, list[Model], Model | None]
        self.handlers = [Handler(taking(annotation)[0]) for annotation in annotations]

    def statuses(self, kind: bytes, body: bytes) -> set[int]:
        headers = ((b"content-type", kind),)
        replies = [
            perform(Call("POST", "/", raw_headers=headers, body=body, handler=handler))
            for handler in self.handlers
        ]
        return {reply.status for reply in replies}

    @given(VALUES, st.booleans())
    def test_no_json_body_makes_the_conversion_fail(self, value: Any, whole: bool) -> None:
        body = json.dumps(value if whole else {"p": value}).encode("utf-8", "replace")
        self.assertLessEqual(self.statuses(b"application/json", body), {200, 400, 422})

    @given(st.dictionaries(st.sampled_from(["p", "name", "n", "tags", "amount"]), st.text(max_size=9)))
    def test_no_form_makes_the_conversion_fail(self, fields: dict[str, str]) -> None:
        body = urlencode(fields).encode()
        self.assertLessEqual(self.statuses(b"application/x-www-form-urlencoded", body), {200, 422})


class DescriptionTests(SynchronousTestCase):
    """The OpenAPI description contains these types."""

    def test_description_has_the_schemas_of_these_types(self) -> None:
        from twisted_appserver.admin.openapi import make_document

        def create(item: Model) -> Model:
            return item

        def limited(p: Annotated[int, annotated_types.Ge(1)], q: int = pydantic.Field(5, le=6)) -> Any: ...

        def other(a: Struct, b: Model | None = None) -> Any: ...

        table = [(r"/create/", create), (r"/limited/", limited), (r"/other/", other)]
        document = make_document(Router(table).entries, "x")
        json.dumps(document)
        body = document["paths"]["/create/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        whole = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
        self.assertEqual(whole["properties"]["n"]["minimum"], 1)
        p, q = document["paths"]["/limited/"]["get"]["parameters"]
        self.assertEqual((p["schema"]["minimum"], q["schema"]["maximum"], q["schema"]["default"]), (1, 6, 5))
        self.assertEqual((p["required"], q["required"]), (True, False))

    def test_classes_of_the_same_name_are_described_apart(self) -> None:
        from twisted_appserver.admin.openapi import make_document

        class Inner:
            class Address(msgspec.Struct):
                street: str

        def one(p: Any) -> Any: ...
        def two(p: Any) -> Any: ...

        one.__annotations__["p"], two.__annotations__["p"] = Address, Inner.Address
        document = make_document(Router([(r"/one/", one), (r"/two/", two)]).entries, "x")
        fields = [
            {each["name"] for each in document["paths"][path]["get"]["parameters"]}
            for path in ("/one/", "/two/")
        ]
        self.assertEqual(fields, [{"town", "number"}, {"street"}])
        self.assertEqual(set(document["components"]["schemas"]), {"Problem", "Address", "Address2"})


class ClientTests(SynchronousTestCase):
    def test_date_in_the_path_is_converted(self) -> None:

        def archive(y: int, m: int) -> dict[str, int]:
            return {"y": y, "m": m}

        client = Client([(r"/(?P<y>\d{4})/(?P<m>\d\d)/", archive)])
        self.assertEqual(client.get("/2024/05/").json, {"y": 2024, "m": 5})
