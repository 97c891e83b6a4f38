"""Functions that use common libraries and idioms, called in real servers of every type."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import postgres
from tests.support.slow import slow
from tests.works_with.functions import DASK, THREADS, USES, WORKERS, Use, pool_forkserver, pool_spawn
from tests.works_with.page import PAGE, page
from tests.works_with.servers import Server, shared

CALLS, CONCURRENT_CALLS = 8, 4  # calls of each function
INSTALL = "pip install '.[works-with]'"


def why_skipped(use: Use, place: str) -> str:
    """Return why a function cannot be called here; empty text if it can."""
    needs = (*use.needs, "distributed") if place == DASK else use.needs
    for name in needs:
        if name == "postgresql":
            if postgres.folder_of_programs() is None:
                return "PostgreSQL is not installed"
        elif find_spec(name) is None:
            return f"{name} is not installed: {INSTALL}"
    return ""


def decode_like(body: bytes, expected: Any) -> Any:
    """Decode a body to the form of the expected value."""
    if isinstance(expected, bytes):
        return body[: len(expected)]
    if isinstance(expected, list):
        return [json.loads(line) for line in body.splitlines()]
    return json.loads(body)


class WorksWithTests(SynchronousTestCase):
    """Each function works in each place where it may run, several times and concurrently."""

    timeout = 240

    def check(self, use: Use, place: str) -> None:
        server = shared(place)
        path = f"/{use.function.__name__}/"
        with ThreadPoolExecutor(CONCURRENT_CALLS) as pool:
            responses = list(pool.map(lambda _: server.get(path), range(CALLS)))
        for status, body in responses:
            if place in use.fails:
                self.assertEqual(status, 500, body)
                self.assertIn(use.fails[place], json.loads(body)["detail"])
            else:
                self.assertEqual(status, 200, body.decode("utf-8", "replace"))
                self.assertEqual(decode_like(body, use.expected), use.expected)
        if use.log:
            self.assertIn(use.log, server.log)


def _test(use: Use, place: str) -> Callable[[WorksWithTests], None]:
    def test(self: WorksWithTests) -> None:
        self.check(use, place)

    test.__doc__ = f"{use.title}, {place}."
    if use.function in (pool_spawn, pool_forkserver) and place not in use.fails:
        slow(test)  # It starts new Pythons, which import everything that this application imports.
    if reason := why_skipped(use, place):
        test.skip = reason  # type: ignore[attr-defined]
    return test


for each in USES:
    for where in each.where:
        setattr(WorksWithTests, f"test_{each.function.__name__}_on_{where}", _test(each, where))


class StopTests(SynchronousTestCase):
    """A server stops cleanly after it has run all functions."""

    timeout = 240

    def check(self, place: str) -> None:
        server = Server(place)
        self.addCleanup(server.kill)
        for use in USES:
            if place in use.where and not why_skipped(use, place):
                server.get(f"/{use.function.__name__}/")
        self.assertIn(server.stop(), (0, -signal.SIGTERM), server.log)
        self.assertEqual(server.processes_left(), [], server.log)
        self.assertIsNone(re.search("Traceback.*\n.*atexit", server.log))

    @slow
    def test_threaded_server_leaves_nothing_behind(self) -> None:
        """It exits with status 0, and no process of it still runs."""
        self.check(THREADS)

    @slow
    def test_forked_server_leaves_nothing_behind(self) -> None:
        """It exits with status 0, and no process of it still runs."""
        self.check(WORKERS)


class PageTests(SynchronousTestCase):
    """docs/works-with.md."""

    def test_page_is_current(self) -> None:
        """The page is what C{python -m tests.works_with.page} generates."""
        self.assertEqual(PAGE.read_text("utf-8"), page(), "run python -m tests.works_with.page")
