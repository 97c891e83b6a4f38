"""Tests of L{core.arguments}: how variables fill the parameters of a function."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import inspect
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional

import msgspec

from tests.support import cases
from tests.support.calling import FORM, JSON, CallTestCase, call
from twisted_appserver import Call
from twisted_appserver.core.handler import Handler


def pair(a, b):  # type: ignore[no-untyped-def]
    return {"a": a, "b": b}


def everything(**variables: Any) -> dict[str, Any]:
    return variables


def whole(variables: dict) -> Any:  # type: ignore[type-arg]
    return variables


def typed(a: int = 0) -> dict[str, Any]:
    return {"a": a}


@dataclasses.dataclass
class Point:
    x: int


class BindingTests(CallTestCase):
    """Variables fill parameters."""

    def test_variables_come_from_path_query_form_and_json(self) -> None:
        """They reach a function by name, as **variables and as one dict."""
        for function in (pair, everything, whole):
            self.ok({"a": "1", "b": "2"}, function, query="a=1&b=2")
            self.ok({"a": "1", "b": "2"}, function, body=b"a=1&b=2", headers=FORM)
            self.ok({"a": 1, "b": None}, function, body=b'{"a": 1, "b": null}', headers=JSON)
        for function in (pair, everything, whole):
            self.ok({"a": "p", "b": "q"}, function, {"a": "p", "b": "q"})
            self.ok({"a": "p", "b": "q"}, function, {"a": "p"}, query="b=q")

    def test_path_wins_over_body_over_query(self) -> None:
        every = {"query": "a=query&b=query&c=query"}
        self.ok(
            {"a": "path", "b": "form", "c": "query"},
            everything, {"a": "path"}, body=b"a=form&b=form", headers=FORM, **every,
        )  # fmt: skip
        self.ok(
            {"a": "path", "b": 1, "c": "query"},
            everything, {"a": "path"}, body=b'{"a": 1, "b": 1}', headers=JSON, **every,
        )  # fmt: skip

    def test_missing_variable_gets_422(self) -> None:
        """The message names it. Surplus variables are ignored."""
        self.refused(422, "b", pair, query="a=1")
        self.ok({"a": "1", "b": "2"}, pair, query="a=1&b=2&c=3")

    def test_missing_variable_and_json_sent_as_a_form_get_advice(self) -> None:
        """As C{curl -d} sends it. Other bodies get no advice."""

        def add(title: str) -> dict[str, str]:
            return {}

        advice = "send it with the header Content-Type: application/json"
        self.refused(415, advice, add, method="POST", headers=FORM, body=b' {"title": "x"}')
        for headers, body in ((JSON, b'{"name": "x"}'), (FORM, b"name=x")):
            reply = call(add, method="POST", headers=headers, body=body)
            self.assertEqual(json.loads(reply.body)["detail"], "title is missing")

    def test_json_object_sent_as_a_form_gets_advice(self) -> None:
        """Also if the whole body is converted to one object."""

        def plot(point: Point) -> dict[str, Any]:
            return {"x": point.x}

        def draw(call: Call, point: Point) -> dict[str, Any]:
            return {"x": point.x}

        advice = "the body looks like JSON: send it with the header Content-Type: application/json"
        self.refused(415, advice, plot, body=b'{"x": 1}', headers=FORM)
        self.refused(422, f"x is missing; {advice}", draw, body=b'{"x": 1}', headers=FORM)
        self.assertNotIn("JSON", str(self.refused(422, "x is missing", plot, body=b"y=1", headers=FORM)))
        self.ok({"x": 1}, plot, body=b"x=1", headers=FORM)

    def test_json_object_sent_as_a_form_is_not_lost_if_all_parameters_are_optional(self) -> None:
        def order(count: int = 1) -> dict[str, Any]:
            return {"count": count}

        self.refused(415, "looks like JSON", order, body=b'{"count": 3}', headers=FORM)
        self.refused(415, "looks like JSON", lambda **each: each, body=b'{"count": 3}', headers=FORM)

    def test_missing_variable_and_a_name_like_it_are_both_named(self) -> None:
        def add(title: str, count: int = 1) -> dict[str, str]:
            return {}

        self.refused(422, "title is missing, but the request has 'tilte'", add, query="tilte=x")
        for query in ("count=2", "xyz=1"):
            reply = call(add, query=query)
            self.assertEqual(json.loads(reply.body)["detail"], "title is missing")

    def test_group_outside_the_match_is_a_missing_variable(self) -> None:
        """It leaves the default, if there is one."""

        def needs(a):  # type: ignore[no-untyped-def]
            return {"a": a}

        def has(a="default"):  # type: ignore[no-untyped-def]
            return {"a": a}

        self.refused(422, "a", needs, pattern=("a",))
        self.ok({"a": "default"}, has, pattern=("a",))

    def test_dict_parameter_receives_all_variables(self) -> None:
        """Other parameters are filled by name."""

        def annotated(variables: dict) -> Any:  # type: ignore[type-arg]
            return variables

        def with_keyword(variables: Mapping[str, Any], *, b: str = "x") -> Any:
            return {"v": variables, "b": b}

        self.ok({"variables": "1", "b": "2"}, annotated, query="variables=1&b=2")
        self.ok({"v": {"a": "1", "b": "2"}, "b": "2"}, with_keyword, query="a=1&b=2")
        self.ok({"object_id": "7"}, lambda object_id: {"object_id": object_id}, {"object_id": "7"})
        self.refused(422, "a", lambda a, b=1: {}, query="b=2")
        self.ok({"title": "x"}, lambda title: {"title": title}, query="title=x")

        def integer(number: int) -> Any:
            return {"number": number}

        self.ok({"number": 4}, integer, query="number=4")

    def test_dict_parameter_may_be_empty(self) -> None:
        """There are no variables."""
        self.ok({}, whole)
        self.ok({}, everything)

    def test_call_parameter_receives_the_frozen_call(self) -> None:
        """Other parameters are filled as usual."""

        def shows(request: Call, a: int = 0) -> Any:
            return {
                "method": request.method, "path": request.path, "query": request.query,
                "agent": request.headers["user-agent"], "body": request.body.decode(),
                "client": request.client, "deadline": request.deadline, "a": a,
            }  # fmt: skip

        parts = {"query": "a=3", "body": b"raw", "client": "127.0.0.1", "deadline": 5.0, "method": "POST"}
        self.ok(
            {"method": "POST", "path": "/x/", "query": "a=3", "agent": "me", "body": "raw",
             "client": "127.0.0.1", "deadline": 5.0, "a": 3},
            shows, headers={"user-agent": "me", "content-type": "text/plain"}, **parts,
        )  # fmt: skip

        def changes(call: Call) -> Any:
            call.method = "PUT"  # type: ignore[misc]

        self.failed(changes, "immutable")

    def test_variable_cannot_replace_the_call(self) -> None:

        def both(call: Call, **rest: Any) -> Any:
            return {"path": call.path, "rest": sorted(rest)}

        self.ok({"path": "/x/", "rest": ["a"]}, both, query="call=evil&a=1")

    def test_variable_cannot_replace_an_optional_call(self) -> None:
        """The annotation has metadata, or allows None."""

        def optional(call: Call | None = None) -> Any:
            return {"path": call and call.path}

        def annotated(call: Annotated[Optional[Call], "whose"] = None) -> Any:  # noqa: UP045
            return {"path": call and call.path}

        forged = b'{"call": ["GET", "/forged/"]}'
        for function in (optional, annotated):
            self.ok({"path": "/x/"}, function)
            self.ok({"path": "/x/"}, function, body=forged, headers=JSON)

    def test_call_inside_another_annotation_is_refused(self) -> None:
        """A request would have to fill it, so it is an error when the handler is made."""
        for annotation in (list[Call], Call | str, dict[str, Call] | None, Annotated[tuple[Call, int], "x"]):

            def takes(calls: Any = None) -> Any: ...

            takes.__annotations__["calls"] = annotation
            self.assertIn("calls", str(self.assertRaises(TypeError, Handler, takes)))

    def test_call_and_dict_parameters_go_together(self) -> None:

        def both(call: Call, variables: dict) -> Any:  # type: ignore[type-arg]
            return {"path": call.path, **variables}

        self.ok({"path": "/x/", "a": "1"}, both, query="a=1")

    def test_keyword_only_and_positional_only_parameters_are_filled(self) -> None:
        """They are filled by name. *args stay empty."""

        def kinds(a, /, b, *args, c, d="default"):  # type: ignore[no-untyped-def]
            return {"a": a, "b": b, "c": c, "d": d, "args": args}

        self.ok({"a": "1", "b": "2", "c": "3", "d": "default", "args": []}, kinds, query="a=1&b=2&c=3")
        self.refused(422, "a", kinds, query="b=2&c=3")
        self.refused(422, "c", kinds, query="a=1&b=2")

    def test_positional_only_parameter_keeps_its_default(self) -> None:
        """It does so even if the positional-only parameter after it is given."""

        def defaults(a=1, b=2, /, c=3):  # type: ignore[no-untyped-def]
            return {"a": a, "b": b, "c": c}

        self.ok({"a": 1, "b": "5", "c": 3}, defaults, query="b=5")
        self.ok({"a": "5", "b": 2, "c": "6"}, defaults, query="a=5&c=6")

    def test_call_and_dict_may_be_positional_only(self) -> None:

        def takes_call(call: Call, /) -> Any:
            return {"path": call.path}

        def takes_dict(variables: dict, /) -> Any:  # type: ignore[type-arg]
            return variables

        self.ok({"path": "/x/"}, takes_call)
        self.ok({"a": "1"}, takes_dict, query="a=1")

    def test_any_callable_is_a_function(self) -> None:
        """Methods, partials, instances with __call__ and classes work."""

        class Greeter:
            def greet(self, name: str) -> Any:
                return {"hello": name}

            def __call__(self, name: str) -> Any:
                return {"called": name}

        @dataclasses.dataclass
        class Made:
            name: str

        self.ok({"hello": "x"}, Greeter().greet, {"name": "x"})
        self.ok({"called": "x"}, Greeter(), {"name": "x"})
        self.ok({"a": "1", "b": "x"}, functools.partial(pair, b="x"), {"a": "1"})
        self.ok({"name": "x"}, Made, {"name": "x"})

    def test_variable_named_self_gets_422(self) -> None:
        """The function is a method with **variables, so the name is in use."""

        class Methods:
            def method(self, **variables: Any) -> Any:
                return variables

            __call__ = method

        for function in (Methods().method, Methods(), functools.partial(Methods.method, Methods())):
            self.ok({"a": "1"}, function, query="a=1")
            self.refused(422, "self", function, query="a=1&self=1")
        self.failed(lambda **variables: pair(1, a=2), "multiple values")

    def test_group_without_a_parameter_is_refused(self) -> None:
        """It is an error when the handler is made."""
        for function in (cases.pid, pair, typed):
            self.assertIn("other", str(self.assertRaises(TypeError, Handler, function, ("other",))))

    def test_parameter_that_no_request_can_fill_is_refused(self) -> None:
        """It is an error when the handler is made."""

        def takes_socket(socket: inspect.Signature) -> Any: ...

        def unknown_name(a: "Missing") -> Any: ...  # type: ignore[name-defined]  # noqa: F821, UP037

        self.assertIn("socket", str(self.assertRaises(TypeError, Handler, takes_socket)))
        self.assertIn("Missing", str(self.assertRaises(TypeError, Handler, unknown_name)))


class Colour(enum.Enum):
    RED = "red"


class ConversionTests(CallTestCase):
    """Annotated parameters are converted and validated: leniently from text, strictly from JSON."""

    def test_text_is_converted_leniently(self) -> None:
        """Text from path, query and form."""

        def takes(i: int, f: float, b: bool, d: datetime.date, u: uuid.UUID, c: Colour) -> Any:
            return {"i": i, "f": f, "b": b, "d": d, "u": u, "c": c}

        uid = "12345678-1234-5678-1234-567812345678"
        expected = {"i": 1, "f": 1.5, "b": True, "d": "2026-01-31", "u": uid, "c": "red"}
        query = f"f=1.5&b=true&d=2026-01-31&u={uid}&c=red"
        self.ok(expected, takes, {"i": "1"}, query=query)
        self.ok(expected, takes, {"i": "1"}, body=query.encode(), headers=FORM)

    def test_json_values_must_have_their_type(self) -> None:
        """ "1" is no int and 1 is no str; text in a path is still converted."""

        def text(a: str) -> Any:
            return {"a": a}

        self.ok({"a": 1}, typed, body=b'{"a": 1}', headers=JSON)
        self.refused(422, "a", typed, body=b'{"a": "1"}', headers=JSON)
        self.refused(422, "a", text, body=b'{"a": 1}', headers=JSON)
        self.ok({"a": 7}, typed, {"a": "7"}, body=b'{"a": "x"}', headers=JSON)

    def test_value_that_cannot_be_converted_gets_422(self) -> None:
        """The message names the parameter and the reason."""
        self.refused(422, "a", typed, query="a=x")
        self.refused(422, "int", typed, query="a=x")
        self.refused(422, "a", typed, query="a=1&a=2")

        def constrained(size: Annotated[int, msgspec.Meta(ge=1)], kind: Literal["x", "y"] = "x") -> Any:
            return {"size": size, "kind": kind}

        self.ok({"size": 1, "kind": "y"}, constrained, query="size=1&kind=y")
        self.refused(422, "size", constrained, query="size=0")
        self.refused(422, "kind", constrained, query="size=1&kind=z")

    def test_sequence_takes_one_field_or_several(self) -> None:
        """The items are converted."""

        def takes(a: list[int], b: set[str] | None = None, c: tuple[int, ...] = ()) -> Any:
            return {"a": a, "b": sorted(b) if b else None, "c": c}

        self.ok({"a": [1], "b": None, "c": []}, takes, query="a=1")
        self.ok({"a": [2, 1], "b": ["x", "y"], "c": [5]}, takes, query="a=2&a=1&b=y&b=x&c=5")
        self.ok({"a": [1, 2], "b": None, "c": []}, takes, body=b'{"a": [1, 2]}', headers=JSON)
        self.refused(422, "a", takes, query="a=1&a=x")
        self.refused(422, "a", takes, body=b'{"a": 1}', headers=JSON)

    def test_nan_and_infinity_are_refused_as_numbers(self) -> None:
        """They may be text."""

        def takes(n: float = 0, many: tuple[float, ...] = (), text: str = "") -> Any:
            return {"n": n, "many": many, "text": text}

        self.ok({"n": 1e300, "many": [-1.5], "text": "nan"}, takes, query="n=1e300&many=-1.5&text=nan")
        for number in ("nan", "inf", "-Infinity"):
            self.refused(422, "n must", takes, query=f"n={number}")
            self.refused(422, "many must", takes, query=f"many=1&many={number}")

    def test_json_keys_are_converted(self) -> None:
        """They are always text in JSON."""

        def takes(
            a: dict[int, str] | None = None,
            b: list[dict[float, int]] | None = None,
            c: dict[str, int] | None = None,
        ) -> Any:
            return {"a": a and sorted(a.items()), "b": b and [sorted(each.items()) for each in b], "c": c}

        self.ok({"a": [[1, "x"], [2, "1"]], "b": None, "c": None}, takes,
                body=b'{"a": {"2": "1", "1": "x"}}', headers=JSON)  # fmt: skip
        self.ok({"a": None, "b": [[[0.5, 1]]], "c": None}, takes, body=b'{"b": [{"0.5": 1}]}', headers=JSON)
        for body in (
            b'{"a": {"x": "1"}}', b'{"a": {"1": 1}}', b'{"b": [{"nan": 1}]}', b'{"b": [{"1": "1"}]}',
            b'{"c": {"1": "1"}}',
        ):  # fmt: skip
            self.refused(422, f"{body[2:3].decode()}", takes, body=body, headers=JSON)

    def test_nan_and_infinity_are_refused_as_decimals(self) -> None:
        """JSON may contain them as text."""

        def takes(
            n: Decimal = Decimal(0),
            many: list[Decimal] | None = None,
            prices: dict[str, Decimal] | None = None,
        ) -> Any:
            return {"n": n, "many": many, "prices": prices}

        self.ok({"n": "1E+400", "many": ["-1.5"], "prices": None}, takes, query="n=1e400&many=-1.5")
        body = b'{"n": 1.5, "many": ["1", 2], "prices": {"NaN": "0.1"}}'
        self.ok({"n": "1.5", "many": ["1", "2"], "prices": {"NaN": "0.1"}}, takes, body=body, headers=JSON)
        for number in ("nan", "sNaN", "inf", "-Infinity"):
            text = json.dumps(number)
            for query in (f"n={number}", f"many=1&many={number}"):
                self.refused(422, "must be a finite number", takes, query=query)
                self.refused(422, "must be a finite number", takes, body=query.encode(), headers=FORM)
            for each in (f'"n": {text}', f'"many": [1, {text}]', f'"prices": {{"a": {text}}}'):
                self.refused(422, "must be a finite", takes, body=f"{{{each}}}".encode(), headers=JSON)

    def test_unannotated_parameter_is_not_converted(self) -> None:
        """It receives the text, or the list of a repeated field."""
        self.ok({"a": ["1", "2"], "b": "x"}, pair, query="a=1&a=2&b=x")

    def test_objects_are_filled_from_json(self) -> None:

        class Address(msgspec.Struct):
            town: str

        @dataclasses.dataclass
        class Person:
            name: str
            address: Address

        def takes(person: Person, note: str = "") -> Any:
            return {"town": person.address.town}

        # string annotations cannot name local classes
        takes.__annotations__["person"] = Person
        Person.__annotations__["address"] = Address
        body = b'{"person": {"name": "x", "address": {"town": "Ulm"}}}'
        self.ok({"town": "Ulm"}, takes, body=body, headers=JSON)
        self.refused(422, "person", takes, body=b'{"person": {"name": "x"}}', headers=JSON)

    def test_variables_of_a_typed_rest_are_converted(self) -> None:
        """The message names the variable."""

        def rest(**numbers: int) -> Any:
            return numbers

        self.ok({"a": 1, "b": 2}, rest, {"a": "1"}, query="b=2")
        self.refused(422, "b", rest, query="a=1&b=x")
