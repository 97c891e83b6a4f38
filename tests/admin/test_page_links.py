"""Tests of links into the pages that lead to something unknown, in a real browser."""

from __future__ import annotations

import os
from typing import Any

from tests.admin.test_browser import show, text
from tests.admin.test_jobs_page import JobsPageTestCase
from tests.support.page_checks import wait
from tests.support.slow import slow


class LinkTests(JobsPageTestCase):
    @slow
    async def test_link_to_what_does_not_exist_says_so(self) -> None:
        """A function, a task, or a job, also if its function is already shown."""
        base = await self.serve_jobs("--store", f"sqlite:{os.path.abspath(self.mktemp())}")

        def looks(browser: Any) -> None:
            for name in ("100%", "nosuch"):
                browser.get(f"{base}/-/docs#{name}")
                wait(browser, lambda _, name=name: f"There is no function {name}." in text(browser, "#main"))
            article = show(browser, base, "steps")
            self.assertNotIn("nosuch", text(browser, "#main"))
            browser.get(f"{base}/-/docs#steps?job=nosuch")
            wait(browser, lambda _: "Job nosuch is not known any more" in article.text)
            browser.get(f"{base}/-/queues#job.hold.x?task=nosuch")
            wait(browser, lambda _: "Task nosuch is not known any more" in text(browser, "#main"))
            browser.get(f"{base}/-/jobs#?job=nosuch")
            wait(browser, lambda _: "Job nosuch is not known any more" in text(browser, "#main"))

        await self.look(looks)
