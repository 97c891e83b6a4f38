"""Tests of the status page in a real browser."""

from __future__ import annotations

import json
import os
from typing import Any

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.access.test_credentials import private
from tests.admin.test_browser import strangers, text
from tests.admin.test_docs_page import SHOP, TOKEN, DocsPageTestCase, enter
from tests.support.page_checks import ASKED, AXE, CLICKS, audit, check_nothing_moves, press, resize, wait
from tests.support.screenshots import ANSWERING
from tests.support.slow import slow
from tests.support.status_figures import ERRORS, STATUS

FAILING = '''\
"""Functions that fail, each in its own way."""

import os
import time

from twisted_appserver import Route


def make(number):
    def fails():
        raise type(f"Error{number:02}", (Exception,), {})("on purpose")

    return Route(rf"/fails/{number}/", fails, name=f"fails{number:02}")


def hold(path: str) -> dict:
    """Return as soon as a file exists."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return {}


url_patterns = (*map(make, range(40)), (r"/hold/", hold))
'''
SCROLL = "const [area] = document.querySelectorAll('section:not([hidden]) > .scroll');"
FAIL = "return fetch(`../fails/${arguments[0]}/`).then(answer => answer.status)"


def loaded(browser: Any) -> int:
    """Return how often the page has requested the figures."""
    return int(browser.execute_script(ASKED, "status.json"))


def wait_for_refreshes(browser: Any, number: int) -> None:
    """Wait until the figures have been requested so many more times."""
    before = loaded(browser)
    wait(browser, lambda _: loaded(browser) >= before + number)


def open_status(browser: Any, base: str) -> None:
    """Open the page, and wait for its first figures: calls are counted from then on."""
    browser.get(f"{base}/-/status")
    wait_for_refreshes(browser, 1)


def find(browser: Any, path: str) -> Any:
    return wait(browser, lambda _: browser.find_element(By.XPATH, path))


class StatusPageTestCase(DocsPageTestCase):
    async def serve_failing(self, *words: str) -> str:
        """Start a server whose functions fail. Returns its address."""
        folder = os.path.abspath(self.folder_of(failing=FAILING))
        app = os.path.join(folder, "failing.py")
        self.program = self.twistd("--port", "0", "--app", app, *words)  # it is killed after the test
        return f"http://localhost:{await self.program.port()}"


class RefreshTests(StatusPageTestCase):
    """What somebody does on the page while it is refreshed."""

    @slow
    async def test_focus_selection_and_scroll_position_survive_ten_refreshes(self) -> None:
        """While functions and errors are added."""
        base = await self.serve_failing("--display-tracebacks")

        def looks(browser: Any) -> None:
            resize(browser, 390, 600)
            open_status(browser, base)
            for number in (20, 21):
                browser.execute_script(FAIL, number)
            find(browser, "//summary[contains(., 'Error20')]").click()
            trace = find(browser, "//pre[contains(., 'on purpose')]")
            name = find(browser, "//a[.='fails20']")
            browser.execute_script(f"{SCROLL} area.scrollLeft = 40")

            def fail(number: int) -> None:
                browser.execute_script(FAIL, 30 + number)  # new rows come below the focused one

            check_nothing_moves(self, browser, "status.json", trace, name, fail)
            self.assertEqual(browser.execute_script(f"{SCROLL} return area.scrollLeft"), 40)
            find(browser, "//a[.='fails39']")

        await self.look(looks)

    @slow
    async def test_slow_clicks_always_succeed(self) -> None:
        """Ten clicks of 150 ms, each while rows are added above and below."""
        base = await self.serve_failing()

        def looks(browser: Any) -> None:
            open_status(browser, base)
            browser.execute_script(FAIL, 20)
            find(browser, "//a[.='fails20']")
            summary = find(browser, "//summary[contains(., 'Error20')]")
            for number in range(CLICKS):
                before = loaded(browser)
                for each in (number, 39 - number):
                    browser.execute_script(FAIL, each)
                # The press begins at any time between two refreshes, and some last over one.
                press(browser, summary, delay=0.1 * number)
                is_open = bool(number % 2 == 0)
                self.assertEqual(
                    browser.execute_script("return arguments[0].parentNode.open", summary), is_open, number
                )
                wait(browser, lambda _, before=before: loaded(browser) > before)

        await self.look(looks)

    @slow
    async def test_figures_stay_when_the_connection_is_lost(self) -> None:
        """And the page says since when. It continues by itself."""
        base = await self.serve_failing()

        def looks(browser: Any) -> None:
            open_status(browser, base)
            browser.execute_script(FAIL, 1)
            find(browser, "//a[.='fails01']")
            self.program.signal("KILL")
            wait(browser, lambda _: "No connection since" in text(browser, "main"))
            self.assertIn("fails01", text(browser, "main"))
            self.assertTrue(browser.find_elements(By.XPATH, "//summary[contains(., 'Error01')]"))

        await self.look(looks)

    @slow
    async def test_token_that_is_rejected_is_asked_for_again(self) -> None:
        """Meanwhile the page shows nothing else. Afterwards it continues."""
        token = private(os.path.abspath(self.mktemp()), TOKEN)
        base = await self.serve_failing("--token-file", token)

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/status")
            enter(browser, token=TOKEN)
            wait_for_refreshes(browser, 1)
            browser.execute_script(
                "for (const key of Object.keys(sessionStorage)) sessionStorage.setItem(key, 'Bearer wrong')"
            )
            wait(browser, lambda _: "wrong token" in text(browser, "#access"))
            self.assertEqual(text(browser, "main"), "")
            enter(browser, token=TOKEN)
            wait(browser, lambda _: "Requests per second" in text(browser, "main"))
            wait_for_refreshes(browser, 2)

        await self.look(looks)


class ContentTests(StatusPageTestCase):
    """What the page shows."""

    @slow
    async def test_page_is_used_with_the_keyboard_alone(self) -> None:
        """The values of a plot, the form of a function, the running call and a traceback."""
        base = await self.serve_failing("--display-tracebacks")
        path = os.path.abspath(self.mktemp())
        self.addCleanup(lambda: open(path, "w").close())

        def looks(browser: Any) -> None:
            def press(*keys: str) -> Any:
                ActionChains(browser).send_keys(*keys).perform()
                return browser.switch_to.active_element

            def move_to(words: str) -> Any:
                """Press Tab until the element with the focus has these words."""
                for _ in range(40):
                    found = press(Keys.TAB)
                    shown = f"{found.text} {found.get_attribute('aria-label')}"
                    if found.tag_name in ("a", "summary", "svg") and words in shown:
                        return found
                raise AssertionError(f"Tab does not reach {words}")

            open_status(browser, base)
            browser.execute_script(FAIL, 1)
            browser.execute_script("fetch('../hold/?path=' + arguments[0])", path)
            find(browser, "//a[.='fails01']")
            wait_for_refreshes(browser, 2)
            row = find(browser, "//h2[.='Running calls']/..//tbody/tr")
            self.assertRegex(row.text, r"^hold thread \d+ .* \S+-\d+$")
            self.assertIn("1 of 10 threads are busy", text(browser, "main"))
            plot = move_to("Requests per second")
            self.assertTrue(plot.get_attribute("aria-valuetext").startswith("now: 2xx, 3xx"))
            press(Keys.PAGE_UP, Keys.ARROW_LEFT)
            self.assertRegex(plot.get_attribute("aria-valuetext"), r"^[\d:]+, not counted: 2xx, 3xx -")
            move_to("Error01")
            press(Keys.ENTER)
            find(browser, "//pre[contains(., 'in fails')]")
            browser.refresh()
            find(browser, "//a[.='fails01']")
            move_to("fails01")
            press(Keys.ENTER)
            wait(browser, lambda _: "#fails01" in browser.current_url)
            self.assertEqual(strangers(browser, base), [])

        await self.look(looks)

    @slow
    async def test_page_says_at_first_what_will_appear(self) -> None:
        base = await self.serve(SHOP)

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/status")
            wait(browser, lambda _: "No function has been called since" in text(browser, "main"))
            browser.execute_script("fetch('../articles/')")
            wait(browser, lambda _: "list_articles" in text(browser, "main"))
            self.assertNotIn("No function has been called", text(browser, "main"))

        await self.look(looks)

    @slow
    async def test_seconds_that_were_not_counted_are_gaps(self) -> None:
        """In each plot. The page says how long calls were not counted. Axe finds nothing serious."""
        base = await self.serve(SHOP)
        answers = json.dumps({"status.json": STATUS, "errors": ERRORS})

        def audit_all(browser: Any) -> None:
            for theme in ("light", "dark"):
                for width in (390, 768, 1400):
                    resize(browser, width)
                    theme_field = browser.find_element(By.CSS_SELECTOR, "[aria-label=Theme]")
                    Select(theme_field).select_by_value(theme)
                    audit(self, browser, f"{theme}, {width}")

        def looks(browser: Any) -> None:
            source = ANSWERING.replace("ANSWERS", answers)
            browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
            browser.get(f"{base}/-/status")
            wait(browser, lambda _: len(browser.find_elements(By.CSS_SELECTOR, ".plot .gap")) == 6)
            self.assertEqual(
                browser.find_elements(By.CSS_SELECTOR, ".plot .line")[0].get_attribute("d").count("M"), 2
            )
            for shown in ("except for 6 min 30 s", "KeyError in place_order: 140 times", "Jobs (2)"):
                self.assertIn(shown, text(browser))
            find(browser, "//summary[contains(., 'KeyError')]").click()
            find(browser, "//pre[contains(., 'mars')]")
            if AXE.is_file():
                audit_all(browser)

        await self.look(looks)
