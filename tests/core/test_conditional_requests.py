"""Tests of preconditions and byte ranges (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.properties import given, st
from twisted_appserver.core.conditional_requests import (
    Validators,
    failed_precondition,
    requested_range,
    validators_of,
)

TIME = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
BEFORE, AT, AFTER = (f"Sun, 06 Nov 1994 08:49:3{digit} GMT" for digit in (6, 7, 8))
STRONG, WEAK = Validators('"a"', TIME), Validators('W/"a"', TIME)


class PreconditionTests(SynchronousTestCase):
    def check(self, status: int, found: Validators = STRONG, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.assertEqual(failed_precondition(named, found), status, str(headers))

    def test_known_entity_tag_gets_304(self) -> None:
        """The comparison is weak, and the tag may be one of several."""
        for found in (STRONG, WEAK):
            for header in ('"a"', 'W/"a"', '"b", "a"', 'W/"b",W/"a"', "*"):
                self.check(304, found, if_none_match=header)
            for header in ('"b"', "a", '"A"', '"a', ""):
                self.check(0, found, if_none_match=header)

    def test_entity_tag_takes_precedence_over_the_date(self) -> None:
        self.check(0, if_none_match='"b"', if_modified_since=AFTER)
        self.check(0, if_match='"a"', if_unmodified_since=BEFORE)

    def test_date_of_the_file_or_a_later_one_gets_304(self) -> None:
        for date, status in ((BEFORE, 0), (AT, 304), (AFTER, 304), ("yesterday", 0), ("", 0)):
            self.check(status, if_modified_since=date)

    def test_version_that_the_client_does_not_want_gets_412(self) -> None:
        """If-Match compares strongly, so a weak tag never matches."""
        for header, status in (
            ('"a"', 0),
            ('"b", "a"', 0),
            ("*", 0),
            ('"b"', 412),
            ('W/"a"', 412),
            ("", 412),
        ):
            self.check(status, if_match=header)
        self.check(412, WEAK, if_match='W/"a"')
        for date, status in ((BEFORE, 412), (AT, 0), (AFTER, 0), ("yesterday", 0)):
            self.check(status, if_unmodified_since=date)

    def test_tag_of_a_file_that_was_just_changed_is_weak(self) -> None:
        """The file could change again at the same time. The clock of a file system may be ahead."""
        changed = TIME * 10**9
        for seconds, strong in ((-5, False), (0, False), (1.9, False), (2, True), (1000, True)):
            found = validators_of(changed, 5, changed + int(seconds * 10**9))
            self.assertEqual((found.is_strong, found.modified), (strong, TIME), seconds)
        self.assertNotEqual(validators_of(changed, 5, 2 * changed), validators_of(changed, 6, 2 * changed))


class RangeTests(SynchronousTestCase):
    def wanted(
        self, text: str, size: int = 10, found: Validators = STRONG, condition: str | None = None
    ) -> object:
        headers = {"range": text} if condition is None else {"range": text, "if-range": condition}
        return requested_range(headers, size, found)

    def test_single_range_gives_position_and_length(self) -> None:
        for text, expected in (
            ("bytes=0-0", (0, 1)), ("bytes=2-5", (2, 4)), ("bytes=2-", (2, 8)), ("bytes=-3", (7, 3)),
            ("bytes=9-99", (9, 1)), ("bytes=-99", (0, 10)), ("BYTES= 1-1 ", (1, 1)),
        ):  # fmt: skip
            self.assertEqual(self.wanted(text), expected, text)

    def test_range_without_a_byte_has_no_length(self) -> None:
        for text, size in (("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)):
            found = self.wanted(text, size)
            assert isinstance(found, tuple)
            self.assertEqual(found[1], 0, text)

    def test_other_ranges_are_ignored(self) -> None:
        """Invalid ones, several ones and other units (RFC 9110, section 14.2)."""
        invalid = ("", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes 0-1", "bytes=\u0663-\u0664")
        for text in (*invalid, "bytes=0-1,3-4", "lines=0-1", f"bytes=0-{'9' * 19}"):
            self.assertIsNone(self.wanted(text), text)

    def test_if_range_with_another_version_asks_for_the_whole(self) -> None:
        for condition, current in (
            ('"a"', True),
            (AT, True),
            ('"b"', False),
            ('W/"a"', False),
            (AFTER, False),
        ):
            self.assertEqual(self.wanted("bytes=0-0", condition=condition) is not None, current, condition)
        for condition in ('W/"a"', '"a"', AT):
            self.assertIsNone(self.wanted("bytes=0-0", found=WEAK, condition=condition))

    @given(st.integers(0, 20), st.text("0123456789-,= bytes", max_size=12))
    def test_any_range_is_inside_the_file(self, size: int, text: str) -> None:
        found = requested_range({"range": f"bytes={text}"}, size, STRONG)
        if found is not None and found[1]:
            self.assertTrue(0 <= found[0] < found[0] + found[1] <= size, found)
