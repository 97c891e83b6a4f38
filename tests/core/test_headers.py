"""Tests of L{core.headers} and L{core.statuses}: the part of a response before its body."""

from __future__ import annotations

import enum
from http import HTTPStatus
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.core import headers
from twisted_appserver.core.headers import convert_headers
from twisted_appserver.core.statuses import TITLES, title
from twisted_appserver.http.response_head import ResponseHeads, response_heads


class Name(str):
    """Text whose C{str()} differs."""

    def __str__(self) -> str:
        return "wrong"


class Header(str, enum.Enum):  # noqa: UP042 - str() of a StrEnum is its value; here it is not
    AGE = "Age"


class SendableTests(SynchronousTestCase):
    def test_large_headers_are_not_cached(self) -> None:
        """Headers of any size can be sent, but only small ones are cached."""
        made = ResponseHeads()
        made.refresh()
        before = headers._check_each.cache_info().currsize
        for number in range(10):
            found = convert_headers({"X-A": f"{number}" + "a" * 5000})
            self.assertEqual(len(found[0][1]), 5001)
            self.assertIn(found[0][1], made[200, found, False])
        self.assertEqual(headers._check_each.cache_info().currsize, before)
        self.assertEqual(len(made), 0)
        self.assertRaises(ValueError, convert_headers, {"X-A": "a" * 5000 + "\n"})

    def test_names_and_values_are_converted_to_text(self) -> None:
        """Names and values may be str, bytes or int, and subclasses. A list sends several headers."""
        for given, sent in (
            (None, ()),
            ((), ()),
            ({}, ()),
            ({b"X-A": b"x"}, (("x-a", "x"),)),
            ({"X-A": b"\xe4"}, (("x-a", "ä"),)),
            ({"Set-Cookie": ["a=1", b"b=2"]}, (("set-cookie", "a=1"), ("set-cookie", "b=2"))),
            (
                [("Set-Cookie", ("a=1", "b=2")), ("X", "")],
                (("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x", "")),
            ),
            ({"X-A": []}, ()),
            ({"Retry-After": 5, "X-B": [0, -1]}, (("retry-after", "5"), ("x-b", "0"), ("x-b", "-1"))),
            ({Header.AGE: HTTPStatus.OK}, (("age", "200"),)),
            ({Name("X-A"): Name("x")}, (("x-a", "x"),)),
            ([["X-A", "x"]], (("x-a", "x"),)),
            ((pair for pair in [("X-A", "x")]), (("x-a", "x"),)),
        ):
            found = convert_headers(given)
            self.assertEqual(found, sent)
            self.assertLessEqual({type(text) for pair in found for text in pair}, {str})

    def test_value_of_another_type_is_refused(self) -> None:
        """The message contains the name of the header and the value."""
        for value in (
            None,
            True,
            1.5,
            object,
            {"a": 1},
            {"x"},
            bytearray(b"x"),
            [None],
            ["a", ["b"]],
            [False],
        ):
            error = self.assertRaises(TypeError, convert_headers, {"X-A": value})
            self.assertIn("'X-A'", str(error))
            self.assertIn(repr(value[-1] if type(value) is list else value), str(error))
        for given in (
            {1: "x"},
            {None: "x"},
            "text",
            b"text",
            5,
            True,
            [1],
            ["ab"],
            [("a", "b", "c")],
            ("X-A", "x"),
        ):
            self.assertRaises(TypeError, convert_headers, given)

    def test_line_breaks_cannot_be_injected(self) -> None:
        """Bytes and the items of a list are checked like any other text."""
        for given in (
            {b"X\r\n": b"a"},
            {"X": b"a\r\nb: c"},
            {"X": ["a", "b\nc"]},
            {"X": [b"\0"]},
            {b"": b"a"},
        ):
            self.assertRaises(ValueError, convert_headers, given)
        for name in ("Content-Length", b"date", "X-Request-ID"):
            self.assertIn("server sets", str(self.assertRaises(ValueError, convert_headers, {name: 1})))

    def test_message_says_what_is_wrong(self) -> None:
        for name, value, said in (
            ("X-A", "€", "values must be Latin-1 and '€' is not"),
            ("X-A", ["ok", "\ud800"], "values must be Latin-1"),
            ("X-A", "a\r\nB: €", "line breaks are not allowed"),
            ("X-A", b"a\n", "line breaks are not allowed"),
            ("X\r", "a", "line breaks are not allowed"),
            ("X A", "a", "a name may contain only letters"),
            ("Ä", "a", "a name may contain only letters"),
            ("", "a", "a name may contain only letters"),
            ("X-A", " a", "begin or end with a space"),
            ("X-A", "a\t", "begin or end with a space"),
            ("X-A", "a\0b", "control characters are not allowed"),
            ("X-A", "\x7f", "control characters are not allowed"),
        ):
            error = self.assertRaises(ValueError, convert_headers, {name: value})
            self.assertIn(said, str(error))
            self.assertNotIn("RFC 9110 forbids", str(error))


class StatusTests(SynchronousTestCase):
    def test_titles_are_those_of_rfc_9110(self) -> None:
        """The titles are the same on every version of Python."""
        for status, expected in (
            (200, "OK"), (203, "Non-Authoritative Information"), (413, "Content Too Large"),
            (414, "URI Too Long"), (416, "Range Not Satisfiable"), (422, "Unprocessable Content"),
            (499, "Unknown Status"), (599, "Unknown Status"),
        ):  # fmt: skip
            self.assertEqual(title(status), expected)

    def test_every_status_of_python_has_a_title(self) -> None:
        self.assertLessEqual({int(status) for status in HTTPStatus}, TITLES.keys())

    def test_first_line_and_problem_document_have_the_same_title(self) -> None:
        response_heads.refresh()
        for status, text in TITLES.items():
            line = response_heads[status, (), True].partition("\r\n")[0]
            self.assertEqual(line, f"HTTP/1.1 {status} {text}")


class NosniffTests(SynchronousTestCase):
    def test_nosniff_header_is_sent_once(self) -> None:
        """X-Content-Type-Options is sent once with every response, and the function's own value wins."""
        name = "x-content-type-options"
        response_heads.refresh()
        given: tuple[Any, ...] = ((), ((name, "other"),), (("content-type", "text/html"),))
        for each in given:
            for empty in (True, False):
                head = response_heads[200, each, empty]
                self.assertEqual(head.lower().count(name), 1)
                self.assertIn("other" if dict(each).get(name) else "nosniff", head)
