"""Tests of L{twisted_appserver.core.request_data}: what a query string and a body carry."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.properties import given, st
from twisted_appserver.core.request_data import (
    MAX_DEPTH,
    MAX_FIELDS,
    decode,
    read_body,
    read_fields,
    read_query,
)
from twisted_appserver.errors import HTTPError

FORM = "application/x-www-form-urlencoded"


def multipart(*parts: tuple[str, bytes]) -> bytes:
    """Return a multipart/form-data body with the boundary C{XX}."""
    made = [
        b"--XX\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), body)
        for head, body in parts
    ]
    return b"".join(made) + b"--XX--\r\n"


class Refusals(SynchronousTestCase):
    """Assertions about refused requests."""

    def refused(self, status: int, function: Any, *args: Any) -> str:
        """Assert that C{function(*args)} raises an HTTPError with C{status}; return its detail."""
        error = self.assertRaises(HTTPError, function, *args)
        self.assertEqual(error.status, status)
        return error.detail


class QueryTests(Refusals):
    def test_fields_are_decoded(self) -> None:
        """Each field is text. Plus signs and percent escapes are decoded, and blank values are kept."""
        self.assertEqual(read_query("a=1&b=x+y&c=%C3%A4%26&d="), {"a": "1", "b": "x y", "c": "ä&", "d": ""})

    def test_repeated_field_becomes_a_list(self) -> None:
        """The list keeps the order."""
        self.assertEqual(read_query("a=3&b=x&a=1&a=2"), {"a": ["3", "1", "2"], "b": "x"})

    def test_escapes_that_are_not_utf8_get_400(self) -> None:
        """They are not replaced."""
        self.refused(400, read_query, "a=%ff")

    def test_utf8_without_percent_encoding_is_accepted(self) -> None:
        """curl sends it; it is Latin-1 in L{Call.query}."""
        self.assertEqual(read_query("a=ä".encode().decode("latin-1")), {"a": "ä"})

    def test_too_many_fields_get_400(self) -> None:
        read_query("&".join(["a=1"] * MAX_FIELDS))
        self.refused(400, read_query, "&".join(["a=1"] * (MAX_FIELDS + 1)))

    @given(st.text(st.characters(codec="latin-1"), max_size=60))
    def test_any_query_is_decoded_or_gets_400(self, query: str) -> None:
        """No query raises another exception."""
        try:
            self.assertIsInstance(read_query(query), dict)
        except HTTPError as error:
            self.assertEqual(error.status, 400)


class FormTests(Refusals):
    def test_form_fields_are_text(self) -> None:
        """They are not parsed as JSON. Parameters and case of the type do not matter."""
        self.assertEqual(
            read_body(b"a=1&a=2&b=%C3%A4", FORM.upper() + "; charset=utf-8"),
            ({"a": ["1", "2"], "b": "ä"}, False),
        )

    def test_utf8_without_percent_encoding_is_accepted(self) -> None:
        """C{curl -d} sends it."""
        self.assertEqual(read_body("a=ä".encode(), FORM), ({"a": "ä"}, False))

    def test_json_that_is_labelled_as_a_form_gets_advice(self) -> None:
        """C{curl -d} labels it so. Its text must not become the name of a field."""
        for body in (b'{"a": 1}', b' {"a": "b=c&d"}\n', b"[1, 2]", b"{a: 1}", b"[]"):
            detail = self.refused(415, read_body, body, FORM)
            self.assertIn("send it with the header Content-Type: application/json", detail)
            self.assertEqual(read_body(body, FORM, any_type=True), ({}, False))
        for body in (b"{a}=1", b"a={1}", b"[x]=1&[y]=2", b"%7Ba%7D"):
            self.assertFalse(read_body(body, FORM)[1], body)

    def test_form_that_is_not_utf8_gets_400(self) -> None:
        self.refused(400, read_body, b"a=%ff", FORM)


class JSONTests(Refusals):
    def test_json_values_keep_their_types(self) -> None:
        """The result says that they came as JSON. C{+json} types count too."""
        for kind in ("application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"):
            fields, is_json = read_body(b'{"a": 1, "b": [true, null], "c": {"d": 1.5}}', kind)
            self.assertEqual(fields, {"a": 1, "b": [True, None], "c": {"d": 1.5}})
            self.assertTrue(is_json)

    def test_malformed_json_gets_400(self) -> None:
        """NaN and lone surrogates are malformed too."""
        for body in (b"{", b"{'a': 1}", b'{"a": NaN}', b'{"a": 1} x', b'{"a": "\\ud800"}', b'{"a": "\xff"}'):
            self.assertIn("JSON", self.refused(400, read_body, body, "application/json"), body)

    def test_detail_says_what_is_wrong_and_where(self) -> None:
        for body, reason in (
            (b'{"a": "\\ud800"}', "lone surrogate, \\ud800 at byte 7"),
            (b'{"a": "\\udc00"}', "lone surrogate, \\udc00 at byte 7"),
            (b'{"a": "\\ud800\\u0041"}', "lone surrogate"),
            (b'{"a": "\\uDBFF', "lone surrogate"),
            (b'{"\\ud800": 1}', "lone surrogate"),
            (b'{"a": "\xff"}', "byte 7 is not UTF-8 (invalid start byte)"),
            (b'{"a": "\xed\xa0\x80"}', "byte 7 is not UTF-8"),
            (b'{"a": "\xe4', "byte 7 is not UTF-8 (unexpected end of data)"),
            ('{"a": 1}'.encode("utf-16"), "byte 0 is not UTF-8"),
            (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
            (b'{"a": "x', "truncated"),
            (b" ", "it is empty"),
            (b'{"a": 1,}', "byte 8"),
            (b'{"a": "\\\\ud800" x', "byte 16"),
            (b'{"a": 1e999}', "number out of range"),
        ):
            for raw in (False, True):
                if raw and reason.startswith("number"):  # each parameter decodes its own
                    continue
                detail = self.refused(400, read_body, body, "application/json", False, raw)
                self.assertIn(reason, detail, body)
                self.assertIn("JSON", detail)

    def test_detail_names_the_place_of_a_number_out_of_range(self) -> None:
        digits = "9" * 5000
        for body, place in (
            ('{"i": 1e400}', "number out of range in i"),
            ('{"a": [{"n": 1}, {"i": -1e400}]}', "number out of range in a[1].i"),
            ('{"1e400": "x", "a b": {"c": [1e400]}}', "number out of range in ['a b'].c[0]"),
            (f'{{"t": "{digits}", "i": [0, {digits}]}}', "value out of range in i[1]"),
        ):
            detail = self.refused(400, read_body, body.encode(), "application/json")
            self.assertTrue(detail.endswith(place), detail)

    def test_pair_of_escaped_surrogates_is_one_character(self) -> None:
        """An escaped backslash starts no escape."""
        fields, _ = read_body(b'{"a": "\\ud83d\\ude00", "b": "\\\\ud800"}', "application/json")
        self.assertEqual(fields, {"a": "\U0001f600", "b": "\\ud800"})

    def test_last_of_equal_keys_wins(self) -> None:
        """The body may be decoded completely or not."""
        self.assertEqual(read_body(b'{"a": 1, "a": 2}', "application/json")[0], {"a": 2})
        fields, _ = read_body(b'{"a": 1, "a": 2}', "application/json", raw=True)
        self.assertEqual(decode(fields["a"]), 2)

    def test_values_may_stay_undecoded(self) -> None:
        """A number that is too large for a float is refused when it is decoded."""
        fields, is_json = read_body(b'{"a": 1.50, "b": 1e999}', "application/json", raw=True)
        self.assertTrue(is_json)
        self.assertEqual(bytes(fields["a"]), b"1.50")
        self.assertIn("out of range in b", self.refused(400, decode, fields["b"], "b"))

    def test_json_that_is_no_object_gets_400(self) -> None:
        """The message names the type."""
        self.assertIn("list", self.refused(400, read_body, b"[1]", "application/json"))

    def test_nesting_is_limited(self) -> None:
        """Many brackets side by side are not nesting."""
        for depth, good in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False), (100_000, False)):
            body = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
            if good:
                read_body(body, "application/json")
            else:
                self.refused(400, read_body, body, "application/json")
        flat = b'{"a": [' + b",".join([b"[]"] * 1000) + b"]}"
        self.assertEqual(len(read_body(flat, "application/json")[0]["a"]), 1000)


class MultipartTests(Refusals):
    def test_multipart_fields_are_text(self) -> None:
        """A repeated field becomes a list."""
        body = multipart(('name="a"', b"1"), ('name="b"', "ä\r\n".encode()), ('name="a"', b"2"))
        expected = {"a": ["1", "2"], "b": "ä\r\n"}
        self.assertEqual(read_body(body, "multipart/form-data; boundary=XX"), (expected, False))

    def test_file_gets_415(self) -> None:
        for name in ('filename="x.txt"', "filename*=UTF-8''x.txt", "FileName* = utf-8''%e2%82%ac"):
            body = multipart((f'name="a"; {name}', b"1"))
            self.assertIn("file", self.refused(415, read_body, body, "multipart/form-data; boundary=XX"))

    def test_field_that_is_named_like_a_file_is_accepted(self) -> None:
        body = multipart(('name="a; filename*=x"', b"1"))
        self.assertEqual(
            read_body(body, "multipart/form-data; boundary=XX"), ({"a; filename*=x": "1"}, False)
        )

    def test_part_without_a_name_gets_400(self) -> None:
        for head in ("", "name", 'name=""', "x=1", 'filename="x.txt"'):
            body = multipart(('name="a"', b"1"), (head, b"2"))
            detail = self.refused(400, read_body, body, "multipart/form-data; boundary=XX")
            self.assertIn("a part has no name", detail)

    def test_malformed_multipart_gets_400(self) -> None:
        """The boundary is missing or another one, the body is cut off, or bytes are not UTF-8."""
        good, kind = multipart(('name="a"', b"1")), "multipart/form-data; boundary=XX"
        for body, content_type in (
            (good, "multipart/form-data"),
            (good, "multipart/form-data; boundary=YY"),
            (good[:-10], kind),
            (b"", kind),
            (multipart(('name="a"', b"\xff")), kind),
        ):
            self.refused(400, read_body, body, content_type)
        self.assertIn("no boundary", self.refused(400, read_body, good, "multipart/form-data"))


class CodingTests(Refusals):
    def read(self, content_type: str, *codings: str, any_type: bool = False) -> Any:
        headers = [("content-type", content_type), *(("content-encoding", each) for each in codings)]
        body = b"a=1" if content_type.startswith(FORM) else b'{"a": 1}'
        return read_fields(body, tuple((name.encode(), value.encode()) for name, value in headers), any_type)[
            0
        ]

    def test_content_coding_gets_415(self) -> None:
        for kind in ("application/json", "application/x+json", FORM, "multipart/form-data; boundary=XX"):
            for codings in (("gzip",), ("identity", "BR"), ("identity, deflate",)):
                error = self.assertRaises(HTTPError, self.read, kind, *codings)
                self.assertEqual((error.status, error.headers), (415, (("accept-encoding", "identity"),)))
                self.assertIn("is not accepted; send the body without it", error.detail)
        self.assertEqual(self.read("application/json", "identity"), {"a": 1})
        self.assertEqual(self.read(FORM, ""), {"a": "1"})

    def test_coded_body_reaches_a_function_that_takes_the_call(self) -> None:
        """The function may read such a body itself."""
        self.assertEqual(self.read("image/png", "gzip", any_type=True), {})
        headers = ((b"content-type", FORM.encode()), (b"content-encoding", b"gzip"))
        self.assertEqual(read_fields(b"\x1f\x8b\xff", headers, any_type=True), ({}, False))
        self.refused(415, self.read, "image/png", "gzip")

    def test_charset_other_than_utf8_gets_415(self) -> None:
        for kind in ("application/json", "application/x+json", FORM):
            for charset in ("utf-16", "ISO-8859-1", '"utf-32"'):
                detail = self.refused(415, self.read, f"{kind}; x=1; Charset={charset}")
                self.assertIn(f"charset {charset.strip(chr(34))} is not accepted; send UTF-8", detail)
            for charset in ("UTF-8", "utf8", "us-ascii", '"utf-8"'):
                self.assertEqual(str(self.read(f"{kind};charset={charset}")["a"]), "1")


class OtherTypeTests(Refusals):
    def test_body_of_another_type_gets_415(self) -> None:
        """The message lists the types that are accepted."""
        for kind in ("", "text/plain", "text/json"):
            self.assertIn("application/json", self.refused(415, read_body, b"x", kind))

    def test_body_of_another_type_reaches_a_function_that_takes_the_call(self) -> None:
        """It has no fields."""
        self.assertEqual(read_body(b"x", "text/plain", any_type=True), ({}, False))

    def test_mislabelled_form_reaches_a_function_that_takes_the_call(self) -> None:
        """curl sends files with the type of a form."""
        for body in (b"\x89PNG\xff", b"a=%ff", b"&".join([b"a=1"] * (MAX_FIELDS + 1))):
            self.assertEqual(read_body(body, FORM, any_type=True), ({}, False))
            self.refused(400, read_body, body, FORM)
