"""Tests with requests that are made from the description of a service, by schemathesis.

C{SEED=2} makes other requests, C{EXAMPLES=1000} more.
"""

from __future__ import annotations

import os
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import CommandTestCase
from tests.support.programs import ROOT
from tests.support.slow import slow
from twisted_appserver.core.application import Application
from twisted_appserver.testing import Client

TYPED = str(ROOT / "examples" / "typed.py")


class GeneratedTests(CommandTestCase):
    """Functions whose parameters have types."""

    timeout = 300

    async def check(self, example: str, least: int) -> None:
        """All other requests are refused."""
        program = self.twistd("--app", str(ROOT / "examples" / f"{example}.py"), "--port", "0")
        base = f"http://localhost:{await program.port()}"
        words = ("--seed", os.environ.get("SEED", "1"), "--max-examples", os.environ.get("EXAMPLES", "30"))
        run = self.python(
            "-m", "tests.support.schemathesis_run",
            "--config-file", str(ROOT / "tests" / "support" / "schemathesis.toml"),
            "run", f"{base}/-/openapi.json", "--url", base, *words,
        )  # fmt: skip
        self.assertEqual(await run.ended, 0, run.output)
        found = re.search(r"(\d+) generated, \1 passed", run.output)
        self.assertTrue(found and int(found[1]) > least, run.output)
        await self.stopped(program)

    @slow
    async def test_requests_that_fit_the_document_are_accepted_and_none_fails(self) -> None:
        """examples/typed.py: JSON objects."""
        await self.check("typed", 500)

    @slow
    async def test_bytes_streams_and_lists_fit_their_description(self) -> None:
        """examples/media.py: what is more than a JSON object."""
        await self.check("media", 300)


class TypedTests(SynchronousTestCase):
    def test_examples_of_the_document_work(self) -> None:
        """The examples in the docstrings of the functions."""
        client = Client(Application.parse(TYPED).load())
        for target, expected in (
            ("/add/2/?b=3", {"sum": 5}), ("/square-root/2.25/", {"root": 1.5}),
            ("/later/2030-12-31/", {"day": "2031-01-01"}),
            ("/price/10.00/?rate=19", {"price": "11.9000"}), ("/convert/ft/?length=0.3048", {"ft": 1.0}),
            ("/sort/?numbers=2&numbers=1", {"numbers": [1, 2]}), ("/count/?text=a+b", {"count": 2}),
        ):  # fmt: skip
            self.assertEqual(client.get(target).json, expected)
        points = {"a": {"x": 0}, "b": {"x": 3, "y": 4}}
        self.assertEqual(client.post("/distance/", points).json, {"distance": 5.0})
        self.assertEqual(client.post("/order/", {"order": {"name": "bolt"}}).json["count"], 1)

    def test_whole_numbers_may_have_a_decimal_point(self) -> None:
        """In JSON 2.0 is a whole number like 2, in every position. 2.5 and "2" are not."""
        client = Client(Application.parse(TYPED).load())
        self.assertEqual(client.post("/sort/", {"numbers": [2.0, 1]}).json, {"numbers": [1, 2]})
        order = {"name": "bolt", "count": 3.0}
        self.assertEqual(client.post("/order/", {"order": order}).json["count"], 3)
        for wrong in (2.5, "2", 1e400, -1.0):
            self.assertEqual(client.post("/order/", {"order": {**order, "count": wrong}}).status, 422)
