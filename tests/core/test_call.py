"""Tests of L{core.call}."""

from __future__ import annotations

import pickle

import msgspec
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

    def test_names_are_looked_up_without_regard_to_case(self) -> None:
        """The names themselves stay in lower case, also in JSON."""
        headers = Call("GET", "/", raw_headers=((b"user-agent", b"x"),)).headers
        for name in ("user-agent", "User-Agent", "USER-AGENT"):
            self.assertIn(name, headers)
            self.assertEqual((headers[name], headers.get(name)), ("x", "x"))
        for other in (headers, pickle.loads(pickle.dumps(headers))):
            self.assertEqual(other["User-Agent"], "x")
        self.assertEqual((list(headers), {**headers}), (["user-agent"], {"user-agent": "x"}))
        self.assertEqual(msgspec.json.encode(headers), b'{"user-agent":"x"}')
        self.assertEqual(headers.pop("User-Agent", ""), "x")
        self.assertEqual((headers, headers.get("User-Agent", "y"), headers.pop("Host", "")), ({}, "y", ""))
        for missing in ("User-Agent", 5):
            self.assertNotIn(missing, headers)
            error = self.assertRaises(KeyError, headers.__getitem__, missing)
            self.assertEqual(error.args, (missing,))
