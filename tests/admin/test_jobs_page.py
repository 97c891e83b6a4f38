"""Tests of the page of jobs in a real browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.access.test_credentials import private
from tests.admin.test_browser import strangers, text
from tests.admin.test_docs_page import TOKEN, DocsPageTestCase, enter
from tests.support.page_checks import (
    CLICKS,
    NO_AXE,
    audit_pages,
    check_nothing_moves,
    find,
    named,
    press,
    send,
    tab_to,
    wait,
)
from tests.support.programs import Program
from tests.support.slow import slow

APP = '''\
"""Functions for jobs."""

import os
import time

from twisted_appserver import Retry, RetryLater, Route


def _until(path):
    while not os.path.exists(path):
        time.sleep(0.01)


def hold(path: str) -> dict:
    """Return as soon as a file exists."""
    _until(path)
    return {"held": 9007199254740993}


def steps(path: str):
    """Make three steps, and the others as soon as a file exists."""
    for step in range(1, 4):
        yield {"done": step, "total": 10}
    _until(path)
    yield {"done": 10, "total": 10}


def breaks(number: int) -> dict:
    """Fail."""
    raise ValueError(f"no customer {number}")


def later() -> dict:
    """Fail, and be tried again after ten minutes."""
    raise RetryLater(600, "the printer is busy")


def digest() -> dict:
    """Be called by the server."""
    return {"sent": 3}


url_patterns = (
    (r"/hold/", hold),
    (r"/steps/", steps),
    (r"/breaks/", breaks),
    Route(r"/later/", later, retry=Retry(attempts=5)),
    Route(r"/digest/", digest, every=4),
)
'''


class JobsPageTestCase(DocsPageTestCase):
    async def serve_jobs(self, *words: str) -> str:
        """Start a service. Returns its address. Its functions wait for the file C{self.path}."""
        folder = os.path.abspath(self.folder_of(app=APP))
        self.path = os.path.join(folder, "go")
        app = os.path.join(folder, "app.py")
        program = self.twistd("--port", "0", "--app", app, "--threads", "30", *words)
        self.addCleanup(self.end, program)
        return f"http://localhost:{await program.port()}"

    async def end(self, program: Program) -> None:
        """Let all functions return, and stop the server. Its log has tracebacks of jobs that failed."""
        self.go()
        program.signal("TERM")
        await program.ended

    def go(self) -> None:
        Path(self.path).touch()

    def begin(self, base: str, function: str, *, path: str = "", query: str = "", **headers: str) -> str:
        """Begin a job. Returns its name."""
        query = query or f"path={path or self.path}"
        answer = send("GET", f"{base}/{function}/?{query}", None, Prefer="respond-async", **headers)
        return str(answer["job"])


def row(browser: Any, job: str) -> Any:
    return find(browser, f"[data-job='{job}']")


class RowTests(JobsPageTestCase):
    @slow
    async def test_progress_bar_survives_a_reload(self) -> None:
        """Details that are open stay open, and show the result at the end."""
        base = await self.serve_jobs()

        def looks(browser: Any) -> None:
            job = self.begin(base, "steps")
            browser.get(f"{base}/-/jobs")

            def bar() -> float:
                return float(find(row(browser, job), "progress").get_attribute("value") or 0)

            wait(browser, lambda _: bar() == 0.3)
            self.assertIn("3/10", row(browser, job).text)
            named(browser, f"Details of steps #{job[-6:]}").click()
            wait(browser, lambda _: job in row(browser, job).text)
            browser.refresh()
            wait(browser, lambda _: bar() == 0.3 and job in row(browser, job).text)
            self.go()
            wait(browser, lambda _: bar() == 1 and "200 OK" in row(browser, job).text)
            self.assertIn('"done": 10', row(browser, job).text)
            self.assertEqual(strangers(browser, base), [])

        await self.look(looks)

    @slow
    async def test_focus_selection_and_scroll_survive_ten_refreshes(self) -> None:
        base = await self.serve_jobs()

        def looks(browser: Any) -> None:
            jobs = [self.begin(base, "breaks", query=f"number={number}") for number in range(12)]
            running = self.begin(base, "steps")
            browser.get(f"{base}/-/jobs")
            wait(browser, lambda _: "3/10" in row(browser, running).text)
            for job in jobs:
                wait(browser, lambda _, job=job: "failed" in row(browser, job).text)
            shown = find(row(browser, jobs[3]), "code")
            check_nothing_moves(
                self, browser, "jobs?", shown, named(browser, f"Retry breaks #{jobs[5][-6:]}")
            )

        await self.look(looks)

    @slow
    async def test_click_of_150_milliseconds_succeeds_ten_times_of_ten(self) -> None:
        """While other jobs begin and end."""
        base = await self.serve_jobs()

        def looks(browser: Any) -> None:
            jobs = [self.begin(base, "hold") for _ in range(CLICKS)]
            browser.get(f"{base}/-/jobs")
            for job in jobs:
                button = named(browser, f"Cancel hold #{job[-6:]}")
                self.begin(base, "breaks", query="number=1")
                press(browser, button)
                wait(browser, lambda _, job=job: "cancelled" in row(browser, job).text)
            states = {send("GET", f"{base}/-/jobs/{job}")["state"] for job in jobs}
            self.assertEqual(states, {"cancelled"})

        await self.look(looks)


class ActionTests(JobsPageTestCase):
    @slow
    async def test_failed_job_is_retried_with_the_keyboard(self) -> None:
        """Its traceback can be opened."""
        base = await self.serve_jobs("--display-tracebacks")

        def looks(browser: Any) -> None:
            job = self.begin(base, "breaks", query="number=7")
            browser.get(f"{base}/-/jobs")
            wait(browser, lambda _: "failed" in row(browser, job).text)
            self.assertIn("500: ValueError: no customer 7", row(browser, job).text)
            tab_to(browser, "Details of breaks").send_keys(Keys.ENTER)
            tab_to(browser, "Traceback of attempt 1").send_keys(Keys.ENTER)
            wait(browser, lambda _: "raise ValueError(f" in row(browser, job).text)
            browser.execute_script("document.getElementById('main').focus()")
            tab_to(browser, "Retry breaks").send_keys(Keys.ENTER)
            wait(browser, lambda _: "is tried again as job" in text(browser, ".message"))
            again = send("GET", f"{base}/-/jobs?function=breaks")["jobs"][0]["job"]
            self.assertNotEqual(again, job)
            wait(browser, lambda _: "failed" in row(browser, again).text)
            self.assertTrue(
                browser.execute_script("return document.activeElement.ariaLabel").startswith("Retry")
            )

        await self.look(looks)

    @slow
    async def test_jobs_are_filtered_by_state_and_function(self) -> None:
        """The filters are in the address. A job leads to its function."""
        base = await self.serve_jobs("--store", f"sqlite:{os.path.abspath(self.mktemp())}")

        def looks(browser: Any) -> None:
            for function, query in (("hold", ""), ("breaks", "number=1"), ("later", "a=1")):
                self.begin(base, function, query=query)
            browser.get(f"{base}/-/jobs")
            wait(browser, lambda _: len(browser.find_elements(By.CSS_SELECTOR, ".item")) >= 3)
            Select(find(browser, "[name=state]")).select_by_value("failed")
            items = "return [...document.querySelectorAll('.item a')].map(each => each.textContent)"
            wait(browser, lambda _: browser.execute_script(items) == ["breaks"])
            self.assertTrue(browser.current_url.endswith("#?state=failed"))
            Select(find(browser, "[name=state]")).select_by_value("waiting")
            wait(browser, lambda _: Select(find(browser, "[name=function]")).select_by_value("later") or True)
            wait(browser, lambda _: browser.execute_script(items) == ["later"])
            self.assertIn("503: the printer is busy", text(browser, ".item"))
            browser.refresh()
            wait(browser, lambda _: browser.execute_script(items) == ["later"])
            find(browser, ".item a").click()
            wait(browser, lambda _: "be tried again after ten minutes" in text(browser, "article"))

        await self.look(looks)

    @slow
    async def test_schedules_lead_to_their_last_job(self) -> None:
        base = await self.serve_jobs()

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/jobs")
            link = wait(browser, lambda _: browser.find_element(By.PARTIAL_LINK_TEXT, "done at"))
            self.assertIn("digest /digest/ every 4 s", text(browser, "table").replace("every=", "every "))
            before = link.text
            wait(browser, lambda _: link.text != before)  # memory keeps a job until the next one ends
            link.send_keys(Keys.ENTER)
            wait(browser, lambda _: '"sent": 3' in text(browser, "#main"))

        await self.look(looks)


class AccessTests(JobsPageTestCase):
    @slow
    async def test_token_is_entered_once_and_nothing_is_visible_before(self) -> None:
        token = private(os.path.abspath(self.mktemp()), TOKEN)
        base = await self.serve_jobs("--token-file", token)

        def looks(browser: Any) -> None:
            job = self.begin(base, "hold", Authorization=f"Bearer {TOKEN}")
            browser.get(f"{base}/-/jobs")
            wait(browser, lambda _: "Authentication required" in text(browser))
            self.assertNotIn("hold", browser.page_source)
            enter(browser, token=TOKEN)
            named(browser, f"Cancel hold #{job[-6:]}").click()
            wait(browser, lambda _: "cancelled" in row(browser, job).text)
            named(browser, f"Details of hold #{job[-6:]}").click()
            wait(browser, lambda _: "the job was cancelled" in row(browser, job).text)
            named(browser, f"Retry hold #{job[-6:]}").click()
            wait(browser, lambda _: len(browser.find_elements(By.CSS_SELECTOR, "[data-job]")) >= 2)
            self.assertEqual(strangers(browser, base), [])

        await self.look(looks)

    @slow
    async def test_axe_finds_nothing_serious(self) -> None:
        base = await self.serve_jobs("--display-tracebacks")

        def looks(browser: Any) -> None:
            self.begin(base, "steps")
            self.begin(base, "later", query="a=1")
            job = self.begin(base, "breaks", query="number=1")
            wait(browser, lambda _: send("GET", f"{base}/-/jobs/{job}")["state"] == "failed")

            def ready() -> None:
                wait(browser, lambda _: "Attempt 1" in text(browser, "#main"))
                wait(browser, lambda _: "digest" in text(browser, "table"))
                find(browser, ".attempts summary").click()

            audit_pages(self, browser, {f"{base}/-/jobs#?job={job}": ready})

        await self.look(looks)

    if NO_AXE:
        test_axe_finds_nothing_serious.skip = NO_AXE  # type: ignore[attr-defined]
