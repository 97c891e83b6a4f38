"""Tests of L{core.perform}: results, replies and errors of functions."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import os
import pickle
import sys
from http import HTTPStatus
from typing import Any

import attrs
import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.support.calling import CallTestCase, call
from twisted_appserver import GiveUp, HTTPError, Reply, RetryLater
from twisted_appserver.core.problem_reply import problem_reply


class ResultTests(CallTestCase):
    """Results of functions are encoded, or are errors."""

    def test_forked_child_ends_where_its_function_returns(self) -> None:
        """It does not continue with the work of its parent."""
        parent = os.getpid()

        def forks() -> dict[str, int]:
            if child := os.fork():
                return {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
            return {}

        reply = call(forks)
        if os.getpid() != parent:  # the child came back: it must not run the other tests
            os._exit(9)
        self.assertEqual(json.loads(reply.body), {"status": 0})

    def test_objects_become_json_objects(self) -> None:
        """Dicts keep their order. Dataclasses, attrs classes and Structs work too."""

        @dataclasses.dataclass
        class Data:
            b: int = 1
            a: str = "x"

        @attrs.define
        class Attrs:
            b: int = 1
            a: str = "x"

        class Struct(msgspec.Struct):
            b: int = 1
            a: str = "x"

        for made in ({"b": 1, "a": "x"}, Data(), Attrs(), Struct()):
            self.ok({"b": 1, "a": "x"}, lambda made=made: made)
        self.assertEqual(call(lambda: {"b": 1, "a": "x"}).body, b'{"b":1,"a":"x"}')

    def test_nested_values_are_encoded(self) -> None:
        value = {"a": [1, None, {"b": datetime.date(2026, 1, 2)}], "n": 2**60, "ä": "ö", 1: 2}
        self.ok({"a": [1, None, {"b": "2026-01-02"}], "n": 2**60, "ä": "ö", "1": 2}, lambda: value)

    def test_result_that_is_no_object_or_list_is_an_error(self) -> None:
        """The message names its type."""
        for made in ({1, 2}, "text", None, 3, b"x", ("a",), True):
            self.failed(lambda made=made: made, type(made).__name__)
        self.failed(object, "object")
        self.assertEqual(call(lambda: [1, {}]).body, b"[1,{}]")

    def test_result_that_cannot_be_encoded_is_an_error(self) -> None:
        """It contains an object, a lone surrogate or a circle."""
        circle: dict[str, Any] = {}
        circle["self"] = circle
        for made in ({"a": object()}, {"a": "\ud800"}, {"\ud800": 1}, circle, {(1, 2): 3}):
            self.failed(lambda made=made: made)

    def test_nan_and_infinity_in_results_are_errors(self) -> None:
        """They never become null."""

        @dataclasses.dataclass
        class Data:
            value: float

        for number in (float("nan"), float("inf"), float("-inf")):
            for made in ({"a": number}, {"a": [{"b": (1, number)}]}, Data(number), {"a": Data(number)}):
                self.failed(lambda made=made: made)
                self.failed(lambda made=made: Reply(made))

    def test_null_is_not_nan(self) -> None:
        """The word null, and None, are accepted."""
        self.ok({"a": None, "b": "null"}, lambda: {"a": None, "b": "null"})

    def test_raw_json_is_sent_unchanged(self) -> None:
        """It may contain null, and cannot hide a NaN."""
        raw = msgspec.Raw(b'{"b":[1,null]}')
        self.ok({"a": {"b": [1, None]}}, lambda: {"a": raw})
        self.failed(lambda: {"a": raw, "b": float("nan")})

    def test_result_may_be_large(self) -> None:
        self.assertEqual(len(call(lambda: {"a": "x" * 10_000_000}).body), 10_000_000 + 8)


class ReplyTests(CallTestCase):
    """A function may return a Reply."""

    def test_body_determines_the_content_type(self) -> None:
        """A dict is JSON. Text and bytes have their own types, unless a header names one."""
        for body, sent, kind in (
            ({"a": 1}, b'{"a":1}', None),
            ("ä", "ä".encode(), "text/plain; charset=utf-8"),
            (b"\x00", b"\x00", "application/octet-stream"),
            (b"", b"", None),
            (None, b"", None),
        ):
            reply = call(lambda body=body: Reply(body, 201))
            self.assertEqual((reply.status, reply.body), (201, sent), reply.traceback)
            self.assertEqual(dict(reply.headers).get("content-type"), kind)
        reply = call(lambda: Reply("<p>", headers={"Content-Type": "text/html"}))
        self.assertEqual(reply.headers, (("content-type", "text/html"),))

    def test_status_is_sent_as_a_number(self) -> None:
        """It may be an HTTPStatus."""
        reply = call(lambda: Reply({}, HTTPStatus.CREATED))
        self.assertEqual((reply.status, type(reply.status)), (201, int), reply.traceback)

    def test_headers_are_a_mapping_or_pairs(self) -> None:
        """Pairs may repeat a name."""
        self.assertEqual(call(lambda: Reply({}, 200, {"X-A": 1})).headers, (("x-a", "1"),))
        pairs = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        self.assertEqual(
            call(lambda: Reply({}, 200, pairs)).headers, (("set-cookie", "a=1"), ("set-cookie", "b=2"))
        )

    def test_invalid_headers_are_errors(self) -> None:
        for headers in (
            {"x": "a\r\nb: c"}, {"x": "a\nb"}, {"x\r\n": "a"}, {"": "a"}, {"x y": "a"}, {"x:": "a"},
            {"x": "\0"}, {"x": "\u20ac"}, {"x": "\ud800"}, {"ä": "a"}, {"x": " a"}, {"x": "a\t"},
            {"Content-Length": "3"}, {"transfer-encoding": "chunked"}, {"Connection": "close"},
            {"Date": "now"}, {"X-Request-ID": "1"}, "text", 5, [1], [("a", "b", "c")],
        ):  # fmt: skip
            self.failed(lambda headers=headers: Reply({}, 200, headers))

    def test_invalid_status_is_an_error(self) -> None:
        """So is a body with a status that allows none."""
        for status in (0, 99, 100, 101, 199, 600, "200", 200.0, True, None):
            self.failed(lambda status=status: Reply({}, status), repr(status))
        for status in (204, 205, 304):
            for body in ({}, [], "x", b"x", iter(["x"])):
                said = f"write Reply(None, {status})"
                self.failed(lambda status=status, body=body: Reply(body, status), said)
            for empty in (b"", None):
                reply = call(lambda status=status, empty=empty: Reply(empty, status))
                self.assertEqual((reply.status, reply.body, reply.headers), (status, b"", ()))


class FaultTests(CallTestCase):
    """A function may raise anything. L{perform} itself never raises."""

    def test_every_exception_gets_500(self) -> None:
        """So do sys.exit() and KeyboardInterrupt. The traceback is kept for the log."""

        class Nasty(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no")

        for error in (ValueError("boo"), SystemExit(3), KeyboardInterrupt(), RecursionError(), Nasty()):

            def fails(error: BaseException = error) -> Any:
                raise error

            self.failed(fails, type(error).__name__)
        self.failed(sys.exit, "SystemExit")

    def test_http_error_becomes_a_problem_document(self) -> None:
        """It has the status, the detail and the headers. Nothing is logged."""

        def fails(said: str | None, headers: Any) -> Any:
            raise HTTPError(418, said, headers)

        for said in ("short and stout", None):
            for headers in ([("x-pot", "tea")], {"X-Pot": "tea"}):
                reply = call(functools.partial(fails, said, headers))
                self.assertEqual((reply.status, reply.traceback), (418, ""))
                self.assertEqual(json.loads(reply.body)["detail"], said or "")
                self.assertIn(("x-pot", "tea"), reply.headers)

    def test_decisions_about_attempts_are_errors_with_a_reason(self) -> None:
        """A client that waits learns when to try again. Nothing is logged."""

        def raises(error: Exception) -> Any:
            raise error

        for error, status, retry, header in (
            (RetryLater(0.5, "busy"), 503, 0.5, "1"),
            (RetryLater(60, "busy"), 503, 60.0, "60"),
            (GiveUp("busy"), 500, False, None),
        ):
            reply = call(functools.partial(raises, error))
            document = json.loads(reply.body)
            self.assertEqual((reply.status, reply.traceback, document["retry"]), (status, "", retry))
            self.assertEqual(document["detail"], "busy")
            self.assertEqual(dict(reply.headers).get("retry-after"), header)

    def test_http_error_that_cannot_be_sent_is_an_error_of_the_function(self) -> None:
        for error in (
            HTTPError(200, "fine"), HTTPError(999), HTTPError(404.0), HTTPError("404"),  # type: ignore[arg-type]
            HTTPError(404, object()), HTTPError(404, "", [("x", "a\r\nb: c")]),  # type: ignore[arg-type]
            HTTPError(404, "", [("x", "\u20ac")]), HTTPError(404, "\ud800"),
        ):  # fmt: skip

            def fails(error: HTTPError = error) -> Any:
                raise error

            reply = call(fails)
            self.assertTrue(400 <= reply.status <= 599, reply)
            self.assertIs(type(reply.status), int)
            json.loads(reply.body)
            for name, value in reply.headers:
                self.assertNotIn("\n", name + value)
                value.encode("latin-1")

    def test_further_members_that_are_not_json_are_an_error_of_the_function(self) -> None:
        for value in (float("nan"), object(), "\ud800", {1: 1, "1": 2}, Reply({})):

            def fails(value: Any = value) -> Any:
                raise HTTPError(409, "", extra={"retry_in": value})

            self.failed(fails)

    def test_traceback_can_always_be_encoded(self) -> None:

        def fails() -> Any:
            raise ValueError("\ud800")

        self.failed(fails).traceback.encode()

    def test_type_error_in_the_function_is_not_the_clients(self) -> None:
        self.failed(lambda: len(5))  # type: ignore[arg-type]


class ProblemTests(SynchronousTestCase):
    def test_problem_document_has_the_members_of_rfc_9457(self) -> None:
        reply = problem_reply(HTTPError(404, "no such thing", [("x-a", "b")]), "id-7")
        self.assertEqual(reply.status, 404)
        self.assertEqual(
            json.loads(reply.body),
            {"type": "about:blank", "title": "Not Found", "status": 404,
             "detail": "no such thing", "instance": "id-7"},
        )  # fmt: skip
        self.assertEqual(reply.headers, (("content-type", "application/problem+json"), ("x-a", "b")))

    def test_further_members_are_in_the_document(self) -> None:
        """They may be called like parameters of HTTPError, such as C{headers}. Pickling keeps them."""
        extra = {"retry_in": 5, "headers": [1], "extra": {"a": None}, "day": datetime.date(2030, 1, 31)}
        error = HTTPError(409, "sold out", [("x-a", "b")], extra=extra)
        for each in (error, pickle.loads(pickle.dumps(error))):
            document = json.loads(problem_reply(each, "id-7").body)
            self.assertEqual(document["detail"], "sold out")
            self.assertEqual({name: document[name] for name in extra}, {**extra, "day": "2030-01-31"})
        self.assertEqual(json.loads(problem_reply(HTTPError(409), "").body)["status"], 409)

    def test_members_of_every_document_are_refused(self) -> None:
        for name in ("type", "title", "status", "detail", "instance"):
            error = self.assertRaises(ValueError, HTTPError, 409, extra={name: "x"})
            self.assertIn(repr(name), str(error))
        for extra in ([("a", 1)], {1: 2}, "ab"):
            self.assertIn("extra must be", str(self.assertRaises(TypeError, HTTPError, 409, extra=extra)))

    def test_unknown_status_has_a_title(self) -> None:
        self.assertTrue(json.loads(problem_reply(HTTPError(499)).body)["title"])
