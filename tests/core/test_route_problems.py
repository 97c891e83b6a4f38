"""Tests of entries that can be loaded, but cannot work."""

from __future__ import annotations

from collections.abc import Iterator
from functools import wraps
from typing import Annotated, Any

from httptools import HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser
from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Call, Reply, Route, Router, Upload
from twisted_appserver.core.route_problems import METHODS


def nothing() -> None: ...


async def text() -> str:
    return ""


def pair() -> tuple[int, int]:
    return 1, 2


def rows() -> list[int]:
    return []


def generated() -> Iterator[str]:
    yield ""


def maybe() -> dict[str, Any] | None:
    return {}


@wraps(nothing)
def converted() -> Any:
    return Reply(b"")


def anything(**variables: Any) -> Any:
    return variables


def picture(picture: Upload) -> Any:
    return {"name": picture.filename}


def pictures(pictures: Annotated[list[Upload] | None, "some"]) -> Any:
    return {"count": len(pictures or ())}


def perhaps(picture: Upload | None = None, *, text: Upload | str) -> Any:
    return {}


def pictures_or_none(pictures: list[Upload] | None = None) -> Any:
    return {"count": len(pictures or ())}


class Order(Struct):
    count: int


def ordered(order: Order) -> Any:
    return {"count": order.count}


def counted(call: Call, count: int = 1) -> Any:
    return {"count": count}


class ProblemTests(SynchronousTestCase):
    def problems(
        self, pattern: str, function: Any = anything, methods: tuple[str, ...] = ("GET", "POST")
    ) -> list[str]:
        router = Router([Route(pattern, function, methods)])
        self.assertEqual(router.notes[: len(router.problems)], router.problems)  # logged at start-up
        return router.problems

    def test_result_that_is_never_json_is_a_problem(self) -> None:
        """A function whose annotation names a type that cannot be sent."""
        for function, name in ((nothing, "None"), (text, "str"), (pair, "tuple[int, int]")):
            (problem,) = self.problems("/", function)
            self.assertIn(f"{function.__name__} returns {name} according to its annotation", problem)
            self.assertIn("must return a dict", problem)

    def test_file_without_a_method_that_has_a_body_is_a_problem(self) -> None:
        for function in (picture, pictures):
            (problem,) = self.problems("/", function, ("GET",))
            name = function.__name__
            self.assertIn(f"{name} is an Upload, and GET requests contain no files; use", problem)

    def test_file_that_a_request_may_contain_or_leave_out_is_no_problem(self) -> None:
        for methods in (("GET", "POST"), ("PUT",), ("DELETE",), ("QUERY",)):
            self.assertEqual(self.problems("/", picture, methods), [])
        self.assertEqual(self.problems("/", perhaps, ("GET",)), [])

    def test_schedule_of_a_function_that_needs_a_variable_is_a_problem(self) -> None:
        """Scheduled calls have none."""
        for function, missing in ((picture, "picture is missing"), (ordered, "count is missing")):
            (problem,) = Router([Route("/", function, every=60)]).problems
            name = function.__name__
            self.assertIn(f"a scheduled call of {name} has no variables, and so it fails: {missing}", problem)
        for function in (anything, pictures_or_none, counted):
            self.assertEqual(Router([Route("/", function, every=60)]).problems, [])

    def test_result_that_may_be_json_is_no_problem(self) -> None:
        """Lists, generators, unions, no annotation, and what a decorator may convert."""
        for function in (rows, generated, maybe, converted, anything):
            self.assertEqual(self.problems("/", function), [])

    def test_group_of_another_framework_is_a_problem(self) -> None:
        """The groups of Flask and FastAPI are text here; the message has the right form."""
        for pattern, wrong in (
            ("/x/<m>/", "<m>"),
            ("/x/<int:m>/", "<int:m>"),
            ("/x/{m}/", "{m}"),
            ("/x/{m:path}", "{m:path}"),
        ):
            (problem,) = self.problems(pattern)
            self.assertIn(f"{wrong} in the pattern matches only this text; write (?P<m>)", problem)

    def test_regular_expressions_are_no_problem(self) -> None:
        """Groups, lookarounds, references and repetitions."""
        for pattern in (
            r"/(?P<m>)/",
            r"/(?P<m>a{2,3})/\d{4}",
            r"/(?P<m>.)(?P=m)(?<=b)(?<!c)",
            r"/\<m\>/\{m\}/",
        ):
            self.assertEqual(self.problems(pattern), [])

    def test_empty_table_is_a_problem(self) -> None:
        """Every request would get 404."""
        self.assertEqual(Router([]).problems, ["url_patterns is empty: every request gets 404"])

    def test_misspelt_method_is_a_problem(self) -> None:
        (problem,) = self.problems("/", methods=("GTE",))
        self.assertIn("unknown method 'GTE'; did you mean 'GET'?", problem)

    def test_method_that_is_like_no_other_is_noted(self) -> None:
        """The parser of another Site may accept it."""
        router = Router([Route("/", anything, ("GET", "XYZZY"))])
        self.assertEqual(router.problems, [])
        (note,) = router.notes
        self.assertIn("unknown method 'XYZZY'", note)

    def test_parser_accepts_the_known_methods_and_no_other(self) -> None:
        for method in (*METHODS, "GTE", "XYZZY"):
            refused = ""
            try:
                HttpRequestParser(self).feed_data(f"{method} / HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            except HttpParserInvalidMethodError:
                refused = method
            except HttpParserUpgrade:  # CONNECT
                pass
            self.assertEqual(not refused, method in METHODS, method)
