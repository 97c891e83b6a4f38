"""Tests of the pages of queues in a real browser."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from twisted.internet.threads import deferToThread

from tests.access.test_credentials import private
from tests.admin.test_browser import show, strangers, text
from tests.admin.test_docs_page import TOKEN, enter, fill
from tests.admin.test_jobs_page import JobsPageTestCase
from tests.support.page_checks import (
    CLICKS,
    NO_AXE,
    audit_pages,
    check_nothing_moves,
    find,
    named,
    press,
    resize,
    send,
    tab_to,
    wait,
)
from tests.support.queue_server import Server
from tests.support.slow import slow

ERROR = "ConnectionError: no mail server"
NAMES = (
    "return [...document.querySelectorAll('#main button')].map(each => each.ariaLabel || each.textContent)"
)
ACTIVE = "return document.activeElement.ariaLabel"


class Emails:
    """
    A client of the queue C{emails} of a server.

    @param headers: are sent with each request.
    """

    def __init__(self, base: str, **headers: str) -> None:
        self.base, self._headers = base, headers

    def ask(self, verb: str, document: Any = None, worker: str = "emails", method: str = "POST") -> Any:
        return send(method, f"{self.base}/{quote(worker)}/{verb}", document, **self._headers)

    def put(self, count: int, worker: str = "emails") -> list[str]:
        """Put tasks. Returns their ids."""
        return [self.ask("put", {"n": number}, worker)["task_id"] for number in range(count)]

    def bury(self, *errors: str) -> list[str]:
        """Let a new task fail with each error. Returns their ids."""
        found = []
        for error in errors:
            self.put(1)
            task = self.ask("get")["task_id"]
            trace = f"Traceback (most recent call last):\n{error}"
            self.ask(f"fail/{task}", {"error": error, "traceback": trace, "retry": False})
            found.append(task)
        return found

    def state(self, task: str) -> str:
        return str(self.ask(f"show/{task}", method="GET")["state"])


class QueuesPageTestCase(JobsPageTestCase):
    async def serve_queues(self, *words: str) -> Emails:
        """Start a TQueueSrv."""
        server = Server(options=words)
        await deferToThread(server.start)
        self.addCleanup(deferToThread, server.kill)
        return Emails(f"http://localhost:{server.port}")


def task(browser: Any, name: str) -> Any:
    return find(browser, f"[data-task='{name}']")


def open_task(browser: Any, name: str) -> Any:
    wait(browser, lambda _: find(task(browser, name), "summary").click() or True)
    return task(browser, name)


class ListTests(QueuesPageTestCase):
    @slow
    async def test_buttons_are_named_after_their_queues(self) -> None:
        """They pause, resume, kick, purge and delete a queue, on a phone too. The last two ask first."""
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            for name in ("emails", "a b", "ä", "painter", "thumbs"):
                emails.put(2, name)
            (buried,) = emails.bury(ERROR)
            resize(browser, 390)
            browser.get(f"{emails.base}/-/queues")
            wait(browser, lambda _: len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 5)
            menu = named(browser, "More actions for emails").rect
            self.assertLess(menu["x"] + menu["width"], 390)
            names = browser.execute_script(NAMES)
            self.assertEqual(len(set(names)), len(names), names)

            def choose(label: str) -> None:
                named(browser, "More actions for emails").click()
                named(browser, label).click()

            choose("Pause emails")
            wait(browser, lambda _: "paused" in text(browser, "table"))
            self.assertTrue(send("GET", f"{emails.base}/-/queues/emails")["options"]["paused"])
            choose("Resume emails")
            wait(browser, lambda _: "paused" not in text(browser, "table"))
            choose("Kick all emails")
            wait(browser, lambda _: emails.state(buried) == "ready")
            choose("Delete emails")
            wait(browser, lambda _: browser.switch_to.alert).dismiss()
            self.assertEqual(emails.state(buried), "ready")
            named(browser, "More actions for emails").send_keys(Keys.ENTER)
            named(browser, "Purge emails").send_keys(Keys.ENTER)
            wait(browser, lambda _: browser.switch_to.alert).accept()
            wait(browser, lambda _: emails.state(buried) == "unknown")
            self.assertEqual(browser.execute_script(ACTIVE), "More actions for emails")
            self.assertEqual(strangers(browser, emails.base), [])

        await self.look(looks)

    @slow
    async def test_empty_server_says_that_it_has_no_queues(self) -> None:
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            browser.get(f"{emails.base}/-/queues#emails")
            wait(browser, lambda _: "0 ready" in text(browser, "#main"))
            self.assertNotIn("Failed jobs", text(browser, "#main"))
            browser.get(f"{emails.base}/-/queues")
            wait(browser, lambda _: "There are no queues yet" in text(browser, "#main"))
            emails.put(1)
            find(browser, "tbody a").click()
            wait(browser, lambda _: "1 ready" in text(browser, "#main"))

        await self.look(looks)

    @slow
    async def test_server_without_a_store_says_how_to_get_one(self) -> None:
        base = await self.serve_jobs()

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/queues")
            wait(browser, lambda _: "start it with --store" in text(browser, "#main"))

        await self.look(looks)


class FormTests(QueuesPageTestCase):
    @slow
    async def test_form_of_a_put_has_its_options(self) -> None:
        """Each with a description."""
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            article = show(browser, emails.base, "put")
            for name in ("priority", "delay", "ttl", "unique"):
                field = find(article, f"[name={name}]")
                hint = browser.find_element(By.ID, str(field.get_attribute("aria-describedby")).split()[0])
                self.assertRegex(hint.text, r"\w+ .* in the query", name)
            fill(article, worker="emails", delay="600")
            find(article, "button.main").click()
            wait(browser, lambda _: "200 OK" in text(browser, "output"))
            answer = json.loads(text(browser, "output pre"))
            self.assertEqual(emails.state(answer["task_id"]), "delayed")

        await self.look(looks)


class TaskTests(QueuesPageTestCase):
    @slow
    async def test_buried_task_is_retried_with_the_keyboard_alone(self) -> None:
        """From the list of queues."""
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            first, second = emails.bury(ERROR, ERROR)
            browser.get(f"{emails.base}/-/queues")
            find(browser, "tbody a")
            tab_to(browser, "emails").send_keys(Keys.ENTER)
            wait(browser, lambda _: "buried 2" in text(browser, "[role=tablist]"))
            tab = tab_to(browser, "ready")
            for _ in range(4):
                tab.send_keys(Keys.ARROW_RIGHT)
                tab = browser.switch_to.active_element
            task(browser, second)
            tab_to(browser, f"#{second[-6:]}").send_keys(Keys.ENTER)
            wait(browser, lambda _: ERROR in task(browser, second).text)
            tab_to(browser, "Traceback of attempt 1").send_keys(Keys.ENTER)
            wait(browser, lambda _: "most recent call last" in task(browser, second).text)
            tab_to(browser, f"Retry task #{second[-6:]}").send_keys(Keys.ENTER)
            wait(browser, lambda _: emails.state(second) == "ready")
            self.assertEqual(emails.state(first), "buried")
            self.assertEqual(browser.execute_script(ACTIVE), f"Retry task #{second[-6:]}")
            self.assertIn("state=buried", browser.current_url)

        await self.look(looks)

    @slow
    async def test_task_is_edited_and_retried(self) -> None:
        """Every digit stays. Text that is no JSON object is not sent. What is open is in the address."""
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            (name,) = emails.bury(ERROR)
            place = f"{emails.base}/-/queues/emails/tasks/{name}"
            send("POST", f"{place}/edit", {"fields": {"n": 2**80}})
            send("POST", f"{place}/bury")
            browser.get(f"{emails.base}/-/queues#emails?state=buried&task={name}")
            named(browser, f"Edit and retry task #{name[-6:]}").click()
            area = find(browser, "dialog textarea")
            self.assertEqual(area.get_attribute("value"), f'{{\n  "n": {2**80}\n}}')
            area.send_keys("x", Keys.TAB, Keys.ENTER)
            wait(browser, lambda _: "must be a JSON object" in text(browser, "dialog"))
            area.send_keys(Keys.CONTROL, Keys.END)
            area.send_keys(Keys.BACKSPACE, Keys.BACKSPACE, ', "to": "ada"}')
            find(browser, "dialog button.main").click()
            wait(browser, lambda _: emails.state(name) == "ready")
            self.assertEqual(send("GET", place)["task"], {"n": 2**80, "to": "ada"})

        await self.look(looks)

    @slow
    async def test_tasks_with_the_same_error_are_retried_together(self) -> None:
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            names = emails.bury(ERROR, "TimeoutError", ERROR)
            browser.get(f"{emails.base}/-/queues#emails?state=buried")
            open_task(browser, names[0])
            named(browser, f"Retry all with this error task #{names[0][-6:]}").click()
            wait(browser, lambda _: "2 tasks with this error are ready" in text(browser, ".message"))
            self.assertEqual([emails.state(name) for name in names], ["ready", "buried", "ready"])

        await self.look(looks)

    @slow
    async def test_tasks_in_all_states_are_shown_and_changed(self) -> None:
        """A leased task has its worker and its progress, a finished one its result."""
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            emails.ask("config", {"keep": 600})
            for group in ("ann", "ann"):
                emails.ask(f"put?group={group}", {"n": 1})
            done, leased, ready, _ = emails.put(4)
            held_by = emails.ask("get?by=host:7")
            finished = emails.ask("get?by=host:7")["task_id"]
            emails.ask(f"done/{finished}", {"made": 2**80})
            browser.get(f"{emails.base}/-/queues#emails?state=ended")
            wait(browser, lambda _: str(2**80) in open_task(browser, finished).text)
            find(browser, "#tab-leased").click()
            row = open_task(browser, held_by["task_id"])
            wait(browser, lambda _: "leased by host:7 for" in row.text and "lease ends" in row.text)
            named(browser, f"Release task #{held_by['task_id'][-6:]}").click()
            wait(browser, lambda _: emails.state(held_by["task_id"]) == "ready")
            find(browser, "#tab-ready").click()
            open_task(browser, ready)
            named(browser, f"Bury task #{ready[-6:]}").click()
            wait(browser, lambda _: emails.state(ready) == "buried")
            open_task(browser, leased)
            named(browser, f"Drop task #{leased[-6:]}").click()
            wait(browser, lambda _: browser.switch_to.alert).accept()
            wait(browser, lambda _: emails.state(leased) == "unknown")
            wait(browser, lambda _: "ann" in text(browser, "table"))
            self.assertTrue(done)
            self.assertIn("ready", text(browser, "figure"))

        await self.look(looks)


class MovementTests(QueuesPageTestCase):
    @slow
    async def test_focus_selection_and_scroll_survive_ten_refreshes(self) -> None:
        """Of the tasks, and of an open task."""
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            names = emails.bury(*[ERROR] * 12)
            browser.get(f"{emails.base}/-/queues#emails?state=buried")
            row = open_task(browser, names[4])
            shown = wait(browser, lambda _: row.find_element(By.CSS_SELECTOR, "pre"))
            focused = named(browser, f"Retry task #{names[6][-6:]}")
            check_nothing_moves(self, browser, "/tasks?", shown, focused)

        await self.look(looks)

    @slow
    async def test_click_of_150_milliseconds_succeeds_ten_times_of_ten(self) -> None:
        """While other tasks come and go."""
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            names = emails.bury(*[ERROR] * CLICKS)
            browser.get(f"{emails.base}/-/queues#emails?state=buried")
            for name in names:
                button = named(browser, f"Retry task #{name[-6:]}")
                emails.bury("TimeoutError")
                press(browser, button)
                wait(browser, lambda _, name=name: emails.state(name) == "ready")

        await self.look(looks)


class JobQueueTests(QueuesPageTestCase):
    @slow
    async def test_jobs_of_a_store_are_tasks(self) -> None:
        """A task shows the call of its job, and leads to it. A job that has failed is tried again."""
        base = await self.serve_jobs(
            "--store", f"sqlite:{os.path.abspath(self.mktemp())}", "--display-tracebacks"
        )

        def looks(browser: Any) -> None:
            job = self.begin(base, "breaks", query="number=7")
            running = self.begin(base, "steps")
            wait(browser, lambda _: send("GET", f"{base}/-/jobs/{job}")["state"] == "failed")
            browser.get(f"{base}/-/queues")
            link = wait(browser, lambda _: browser.find_element(By.PARTIAL_LINK_TEXT, "job.breaks."))
            link.click()
            failed = wait(browser, lambda _: browser.find_element(By.LINK_TEXT, "All failed jobs"))
            self.assertTrue(failed.get_attribute("href").endswith("/-/jobs#?state=failed"))
            find(browser, "#tab-ended").click()
            row = find(browser, "[data-task]")
            wait(browser, lambda _: "failed" in row.text)
            find(row, "summary").click()
            wait(browser, lambda _: "no customer 7" in row.text)
            find(row, ":scope > button").click()
            wait(browser, lambda _: "is tried again as job" in text(browser, ".message"))
            wait(browser, lambda _: len(browser.find_elements(By.CSS_SELECTOR, "[data-task]")) == 2)
            find(row, ".facts a").click()
            wait(
                browser, lambda _: job in text(browser, "[data-job]") or job in text(browser, ".list-of-rows")
            )
            browser.get(f"{base}/-/queues")
            wait(browser, lambda _: browser.find_element(By.PARTIAL_LINK_TEXT, "job.steps.")).click()
            find(browser, "#tab-leased").click()
            row = find(browser, "[data-task]")
            self.assertIn("GET /steps/?path=", row.text)
            find(row, "summary").click()
            wait(browser, lambda _: "Call" in row.text)
            self.assertEqual(send("GET", f"{base}/-/jobs/{running}")["state"], "running")

        await self.look(looks)


class AccessTests(QueuesPageTestCase):
    @slow
    async def test_token_is_entered_once_and_nothing_is_visible_before(self) -> None:
        token = private(os.path.abspath(self.mktemp()), TOKEN)
        server = await self.serve_queues("--token-file", token)
        emails = Emails(server.base, Authorization=f"Bearer {TOKEN}")

        def looks(browser: Any) -> None:
            (name,) = emails.bury(ERROR)
            browser.get(f"{emails.base}/-/queues")
            wait(browser, lambda _: "Authentication required" in text(browser))
            self.assertNotIn("emails", browser.page_source)
            enter(browser, token=TOKEN)
            find(browser, "tbody a").click()
            find(browser, "#tab-buried").click()
            open_task(browser, name)
            wait(browser, lambda _: "Attempt 1" in task(browser, name).text)
            named(browser, f"Retry task #{name[-6:]}").click()
            wait(browser, lambda _: emails.state(name) == "ready")
            self.assertEqual(strangers(browser, emails.base), [])

        await self.look(looks)

    @slow
    async def test_axe_finds_nothing_serious(self) -> None:
        emails = await self.serve_queues()

        def looks(browser: Any) -> None:
            name, _ = emails.bury(ERROR, ERROR)
            emails.ask("put?group=ann", {"n": 1})

            def listed() -> None:
                find(browser, "tbody a")
                named(browser, "More actions for emails").click()
                named(browser, "Delete emails")

            def opened() -> None:
                wait(browser, lambda _: "Attempt 1" in task(browser, name).text)
                wait(browser, lambda _: "ann" in text(browser, "table"))
                find(browser, ".attempts summary").click()

            def edited() -> None:
                named(browser, f"Edit and retry task #{name[-6:]}").click()
                find(browser, "dialog textarea")

            page = f"{emails.base}/-/queues"
            open_address = f"{page}#emails?state=buried&task={name}"
            audit_pages(self, browser, {page: listed, open_address: opened, f"{open_address}&": edited})

        await self.look(looks)

    if NO_AXE:
        test_axe_finds_nothing_serious.skip = NO_AXE  # type: ignore[attr-defined]
