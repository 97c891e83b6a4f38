"""Tests of L{core.call}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Call


class HeadersTests(SynchronousTestCase):
    def test_cookies_are_joined_with_semicolons(self) -> None:
        """A proxy may have split them."""
        pairs = ((b"cookie", b"a=1"), (b"accept", b"x"), (b"cookie", b"b=2"), (b"accept", b"y"))
        self.assertEqual(
            Call("GET", "/", raw_headers=pairs).headers, {"cookie": "a=1; b=2", "accept": "x, y"}
        )

    def test_repeated_headers_are_joined_with_commas(self) -> None:
        """See RFC 9110, section 5.3."""
        made = Call("GET", "/", raw_headers=((b"a", b"1"), (b"b", b"\xe4"), (b"a", b"2")))
        self.assertEqual(made.headers, {"a": "1, 2", "b": "ä"})
