"""Calls of single functions in memory, and assertions about their replies."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Call, Reply
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.perform import perform

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def call(
    function: Any, groups: dict[str, str] | None = None, *, pattern: tuple[str, ...] = (), **parts: Any
) -> Reply:
    """
    Perform a call of a function.

    @param groups: the groups of its pattern, with their values.
    @param pattern: more groups of its pattern, which took no part in the match.
    """
    handler = Handler(function, (*(groups or ()), *pattern))
    headers = tuple((k.encode(), v.encode()) for k, v in parts.pop("headers", {}).items())
    parts = {"method": "GET", "path": "/x/", "request_id": "id-1", **parts}
    return perform(Call(handler=handler, groups=groups or {}, raw_headers=headers, **parts))


class CallTestCase(SynchronousTestCase):
    def ok(self, expected: dict[str, Any], *args: Any, **parts: Any) -> None:
        """Assert that the reply is 200 with the JSON C{expected}."""
        reply = call(*args, **parts)
        self.assertEqual((reply.status, json.loads(reply.body)), (200, expected), reply.traceback)

    def refused(self, status: int, named: str, *args: Any, **parts: Any) -> None:
        """Assert that the reply is a problem document whose detail contains C{named}, without a traceback."""
        reply = call(*args, **parts)
        self.assertEqual(reply.status, status, reply)
        self.assertIn(named, json.loads(reply.body)["detail"])
        self.assertEqual(reply.traceback, "")

    def failed(self, function: Any, said: str = "") -> Reply:
        """Assert that the reply is 500, with C{said} in the traceback only."""
        reply = call(function)
        self.assertEqual(reply.status, 500, reply)
        self.assertIn(said, reply.traceback)
        self.assertTrue(reply.traceback)
        self.assertNotIn("Traceback", reply.body.decode())
        self.assertEqual(json.loads(reply.body)["instance"], "id-1")
        return reply
