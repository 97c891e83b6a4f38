"""Warnings that are logged when a table is put to use."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twisted_appserver import AppResource, Route, make_service
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.start_notes import reactor_note
from twisted_appserver.tqueue.wire import url_patterns


async def later() -> dict[str, Any]:
    return {}


class JoblessTests(TestCase):
    """A table with a schedule, where nothing performs jobs."""

    table = (Route("/later/", later, every=60),)

    def logged(self, start: Callable[[], object]) -> str:
        """Return what is logged and printed."""
        printed = io.StringIO()
        with capturedLogs() as logs, redirect_stderr(printed):
            start()
        return printed.getvalue() + "".join(str(event.get("note", "")) for event in logs)

    async def test_server_without_jobs_logs_a_warning(self) -> None:
        for no_admin in (True, False):
            service = make_service(self.table, port=0, no_admin=no_admin)
            found = self.logged(service.startService)
            self.assertEqual("later is never called as scheduled: --no-admin switches" in found, no_admin)
            await service.stopService()

    def test_resource_logs_a_warning(self) -> None:
        memory = MemoryReactorClock()
        AppResource(self.table, memory)
        found = self.logged(memory.run)
        self.assertIn("later is never called as scheduled: an AppResource has no jobs", found)


class ReactorNoteTests(SynchronousTestCase):
    def test_coroutine_function_on_a_reactor_without_asyncio_is_named(self) -> None:
        clock = Clock()
        self.assertIn("later is a coroutine function", reactor_note(clock, Router((("/later/", later),))))
        clock._asyncioEventloop = object()  # type: ignore[attr-defined]
        self.assertEqual(reactor_note(clock, Router((("/later/", later),))), "")

    def test_functions_of_tqueuesrv_need_no_asyncio(self) -> None:
        clock = Clock()
        self.assertEqual(reactor_note(clock, Router(url_patterns(reactor=clock))), "")
