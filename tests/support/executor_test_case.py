"""The base class for tests of executors, with a dispatcher for each executor."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from tests.support import cases
from twisted_appserver import Call, InlineExecutor, ProcessExecutor, Reply, Router, ThreadExecutor
from twisted_appserver.dispatch.dispatcher import Dispatcher

APPLICATION = "tests.support.cases"


def get(path: str, /, **variables: Any) -> Call:
    """Return a GET of C{path} with these variables in the query."""
    return Call("GET", path, "&".join(f"{name}={value}" for name, value in variables.items()))


def json_of(reply: Reply) -> Any:
    """Return the JSON of a reply."""
    return json.loads(reply.body)


class ExecutorTestCase(TestCase):
    """Makes executors and their dispatchers, and stops them after the test."""

    timeout = 30

    def dispatcher(
        self,
        executor: Any,
        name: str,
        patterns: Sequence[Any] = cases.url_patterns,
        clock: Any = reactor,
        **options: Any,
    ) -> Dispatcher:
        router = getattr(executor, "router", None) or Router(patterns)
        executors = {"inline": InlineExecutor(), name: executor}
        made = Dispatcher(clock, router, executors, name, **options)
        self.addCleanup(made.stop)
        return made

    async def threads(self, size: int, **options: Any) -> tuple[ThreadExecutor, Dispatcher]:
        pool = ThreadPool(0, size)
        pool.start()
        self.addCleanup(pool.stop)
        executor = ThreadExecutor(reactor, size, pool)
        self.addCleanup(executor.stop)
        await executor.start()
        return executor, self.dispatcher(executor, "threads", **options)

    async def processes(self, size: int, **options: Any) -> tuple[ProcessExecutor, Dispatcher]:
        executor = ProcessExecutor(reactor, APPLICATION, size)
        self.addCleanup(executor.stop)
        await executor.start()
        return executor, self.dispatcher(executor, "processes", **options)

    async def until(self, condition: Any) -> Any:
        """Call C{condition()} until it returns a true value, and return this value."""
        while not (value := condition()):
            await deferLater(reactor, 0.002)
        return value

    async def holder(self, path: str) -> int:
        """Return the id of the process whose call of L{support.cases.holds} holds C{path}."""
        await self.until(lambda: os.path.exists(path))
        with open(path) as made:
            return int(made.read())

    def logged(self) -> list[str]:
        """Return a list to which every message that is logged from now on is appended."""
        lines: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            lines.append((event.get("log_format") or "").format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines
