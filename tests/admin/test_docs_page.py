"""Tests of the page of functions in a real browser."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.access.test_credentials import private
from tests.admin.test_browser import BrowserTestCase, show, strangers, text
from tests.support.page_checks import NO_AXE, audit, audit_pages, resize, set_system_theme, wait
from tests.support.programs import ROOT
from tests.support.slow import slow

SHOP = str(ROOT / "tests" / "support" / "shop.py")
TOKEN, PASSWORD = "0123456789abcdefTOKEN", "sesame"
WAITING = '''\
"""Functions that wait until a file exists."""

import os
import time


def _until(path):
    while not os.path.exists(path):
        time.sleep(0.01)


def hold(path: str, text: str) -> dict:
    """Return a text as soon as a file exists."""
    _until(path)
    open(path + "." + text, "w").close()
    return {"text": text}


def steps(path: str):
    """Make three steps, and the others as soon as a file exists."""
    for step in range(1, 4):
        yield {"done": step, "total": 10}
    _until(path)
    yield {"done": 10, "total": 10}


def unauthorized() -> dict:
    """Refuse."""
    from twisted_appserver import HTTPError
    raise HTTPError(401, "the function refuses")


url_patterns = ((r"/hold/", hold), (r"/steps/", steps), (r"/unauthorized/", unauthorized))
'''
OPEN = "for (const each of document.querySelectorAll('article details')) each.open = true;"


class DocsPageTestCase(BrowserTestCase):
    async def serve(self, app: str, *words: str) -> str:
        """Start a server. Returns its address."""
        program = self.twistd("--port", "0", "--app", app, *words)
        self.addCleanup(self.stopped, program)
        return f"http://localhost:{await program.port()}"

    async def serve_waiting(self) -> tuple[str, str]:
        """Start a server whose functions wait for a file. Returns its address and the path of the file."""
        folder = os.path.abspath(self.folder_of(waiting=WAITING))
        return await self.serve(os.path.join(folder, "waiting.py")), os.path.join(folder, "go")


def find(article: Any, selector: str) -> Any:
    return article.find_element(By.CSS_SELECTOR, selector)


def fill(article: Any, **values: str) -> None:
    for name, value in values.items():
        field = find(article, f"[name={name}]")
        field.clear()
        field.send_keys(value)


def call(article: Any) -> None:
    find(article, "button.main").click()


def output(article: Any) -> str:
    return str(find(article, "output").text)


def samples(article: Any) -> list[str]:
    """Return the commands for curl and Python that a form offers."""
    if not find(article, ".samples").get_attribute("open"):
        find(article, ".samples summary").click()
    nodes = [find(article, f"[aria-label={name}]") for name in ("curl", "Python")]
    wait(article.parent, lambda _: all(each.text for each in nodes))  # they are written after the click
    return [each.text for each in nodes]


def go(path: str) -> None:
    Path(path).touch()


class CallTests(DocsPageTestCase):
    """Calls from forms."""

    @slow
    async def test_old_response_never_replaces_a_newer_one(self) -> None:
        """And a call that was stopped shows nothing any more."""
        base, path = await self.serve_waiting()

        def looks(browser: Any) -> None:
            article = show(browser, base, "hold")
            fill(article, path=path, text="old")
            call(article)
            wait(browser, lambda _: "Waiting" in output(article))
            there = path + "2"
            go(there)
            fill(article, path=there, text="new")
            call(article)
            wait(browser, lambda _: '"new"' in output(article))
            go(path)
            wait(browser, lambda _: os.path.exists(path + ".old"))
            browser.execute_async_script(
                "fetch('../hold/?text=x&path=' + arguments[0]).then(arguments[1])", path
            )
            self.assertIn('"new"', output(article))
            self.assertNotIn('"old"', output(article))
            self.assertFalse(find(article, "button.main + button").is_enabled())
            fill(article, path=path + "3", text="stopped")
            call(article)
            stop = find(article, "button.main + button")
            wait(browser, lambda _: stop.is_enabled())
            stop.click()
            go(path + "3")
            wait(browser, lambda _: os.path.exists(path + "3.stopped"))
            browser.execute_async_script(
                "fetch('../hold/?text=x&path=' + arguments[0]).then(arguments[1])", path
            )
            self.assertEqual(output(article), "Stopped.")

        await self.look(looks)

    @slow
    async def test_progress_of_a_job_survives_a_reload(self) -> None:
        """Each job keeps its button to cancel it. Meanwhile, focus and selection stay where they are."""
        base, path = await self.serve_waiting()

        def rows(browser: Any) -> list[Any]:
            return list(browser.find_elements(By.CSS_SELECTOR, ".job"))

        def progress(row: Any) -> float:
            return float(find(row, "progress").get_attribute("value") or 0)

        def looks(browser: Any) -> None:
            article = show(browser, base, "steps")
            fill(article, path=path)
            find(article, "[name=job]").click()
            for number in (1, 2):
                call(article)
                wait(
                    browser,
                    lambda _, number=number: [progress(row) for row in rows(browser)] == [0.3] * number,
                )
            names = [row.get_attribute("data-job") for row in rows(browser)]
            field = find(article, "[name=path]")
            field.click()
            browser.execute_script(
                "arguments[0].setSelectionRange(1, 3); window.requests = performance.now()", field
            )
            later = (
                "performance.getEntriesByType('resource').filter(each => each.startTime > window.requests)"
            )
            asked = f"return {later}.length"
            wait(browser, lambda _: browser.execute_script(asked) >= 6)
            focus = "document.activeElement"
            selection = f"return [{focus}.name, {focus}.selectionStart, {focus}.selectionEnd]"
            self.assertEqual(browser.execute_script(selection), ["path", 1, 3])
            browser.refresh()
            wait(browser, lambda _: [progress(row) for row in rows(browser)] == [0.3, 0.3])
            self.assertEqual({row.get_attribute("data-job") for row in rows(browser)}, set(names))
            first, second = rows(browser)
            find(first, "button").click()
            wait(browser, lambda _: "cancelled" in first.text)
            go(path)
            wait(browser, lambda _: "done, 4 items" in second.text and '"total": 10' in second.text)
            self.assertEqual(progress(second), 1.0)
            find(second, "[aria-label^=Remove]").click()
            browser.refresh()
            wait(browser, lambda _: "cancelled" in text(browser))
            self.assertEqual(len(rows(browser)), 1)

        await self.look(looks)

    @slow
    async def test_samples_do_what_the_form_does(self) -> None:
        """The commands for curl and Python, with a token from the environment."""
        token = private(os.path.abspath(self.mktemp()), TOKEN)
        base = await self.serve(SHOP, "--token-file", token)
        order = '[{"article": "it\'s", "count": 9007199254740993}]'

        def looks(browser: Any) -> list[str]:
            browser.get(f"{base}/-/docs")
            enter(browser, token=TOKEN)
            article = show(browser, base, "place_order")
            fill(article, lines=order.replace("9007199254740993", "3").replace("it's", "bolt"))
            Select(find(article, "[name=gift]")).select_by_visible_text("true")
            found = samples(article)
            fill(article, lines=order)
            return [*found, samples(article)[0]]

        curl, python, unusual = await self.look(looks)
        environment = {**os.environ, "TOKEN": TOKEN}
        self.assertNotIn(TOKEN, curl + python)
        run = {"env": environment, "capture_output": True, "text": True, "timeout": 60, "check": True}
        for command in (["bash", "-c", f"{curl} -s"], [sys.executable, "-c", python]):
            shown = subprocess.run(command, **run).stdout  # type: ignore[call-overload]
            self.assertIn('"price":0.45', shown)
        body = json.loads(shlex.split(unusual)[-1])
        self.assertEqual(body["lines"], json.loads(order))

    @slow
    async def test_large_and_binary_results_are_shown_in_part(self) -> None:
        """The first 200 KB of a text, and an image as an image. Each can be downloaded."""
        base = await self.serve(SHOP)

        def looks(browser: Any) -> None:
            article = show(browser, base, "large")
            call(article)
            wait(browser, lambda _: "The first 200.0 KB of 293.0 KB are shown" in output(article))
            shown = browser.execute_script("return document.querySelector('output pre').textContent")
            self.assertTrue(shown.startswith('{\n  "text": "xxx'), shown[:40])
            self.assertEqual(len("".join(shown.split())), 200 * 1024)
            self.assertLess(browser.execute_script("return document.body.scrollHeight"), 5000)
            article = show(browser, base, "picture")
            fill(article, name="bolt", side="20")
            call(article)
            canvas = wait(browser, lambda _: find(article, "output canvas"))
            self.assertEqual(canvas.size["width"], 22)
            self.assertIn("Download", output(article))
            find(article, "output summary").click()
            wait(browser, lambda _: "content-type: image/png" in output(article))

        await self.look(looks)


class FormTests(DocsPageTestCase):
    """Fields, texts and the index."""

    @slow
    async def test_function_is_found_and_called_with_the_keyboard(self) -> None:
        """Its form has selects, lists, editors and checks."""
        base = await self.serve(SHOP)

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/docs")
            wait(browser, lambda _: "Sells bolts" in text(browser))
            keys = browser.switch_to.active_element
            keys.send_keys("/")
            browser.switch_to.active_element.send_keys("place an order", Keys.ENTER)
            article = wait(
                browser, lambda _: browser.find_element(By.CSS_SELECTOR, "article[data-function=place_order]")
            )
            self.assertTrue(browser.current_url.endswith("/-/docs#place_order"))
            wait(browser, lambda _: browser.switch_to.active_element == find(article, "[name=lines]"))
            self.assertEqual(
                [
                    each.text
                    for each in browser.find_elements(By.CSS_SELECTOR, ".list li")
                    if each.is_displayed()
                ],
                ["place_order"],
            )
            for shown in ("what is ordered", "1. The price is computed", "409"):
                self.assertIn(shown.removeprefix("1. "), article.text)
            self.assertTrue(article.find_elements(By.CSS_SELECTOR, "ol li code"))
            lines = find(article, "[name=lines]")
            self.assertEqual(json.loads(lines.get_attribute("value")), [{"article": "bolt", "count": 1}])
            lines.send_keys("]", Keys.CONTROL, Keys.ENTER)
            wait(browser, lambda _: "must be JSON" in article.text)
            self.assertEqual(output(article), "")
            lines.send_keys(Keys.BACKSPACE)
            wrapping = Select(find(article, "[name=wrapping]"))
            self.assertEqual([each.text for each in wrapping.options], ["unset", "paper", "wood", "none"])
            wrapping.select_by_visible_text("wood")
            self.assertEqual(
                [each.text for each in Select(find(article, "[name=gift]")).options],
                ["unset", "true", "false"],
            )
            for note in ("first", "second"):
                find(article, "[aria-label='Add an item to notes']").send_keys(Keys.ENTER)
                browser.switch_to.active_element.send_keys(note)
            fill(article, by="tomorrow")
            self.assertIn("must be a date", article.text)
            fill(article, by="2030-12-31")
            find(article, "[name=by]").send_keys(Keys.CONTROL, Keys.ENTER)
            wait(browser, lambda _: '"wrapping": "wood"' in output(article))
            browser.get(f"{base}/-/docs#get_article")
            article = wait(
                browser, lambda _: browser.find_element(By.CSS_SELECTOR, "article[data-function=get_article]")
            )
            fill(article, name="Bolt")
            call(article)
            self.assertEqual(output(article), "")
            self.assertIn("must be string, like ^[a-z]{2,20}$", article.text)
            Select(find(article, "select")).select_by_visible_text("POST /articles/{name}/")
            self.assertEqual(find(article, "[name=name]").get_attribute("value"), "Bolt")
            browser.get(f"{base}/-/docs#place_order")
            wait(browser, lambda _: '"wrapping": "wood"' in text(browser, "output"))
            self.assertEqual(text(browser, "article [name=notes]"), "")

        await self.look(looks)

    @slow
    async def test_functions_that_openapi_lacks_are_listed(self) -> None:
        """With the reason. Schemas are trees with examples."""
        base = await self.serve(SHOP)

        def looks(browser: Any) -> None:
            article = show(browser, base, "get_order")
            for title in ("Schema", "list of Line"):
                wait(
                    browser,
                    lambda _, title=title: (
                        article.find_element(By.XPATH, f".//summary[.='{title}']").click() or True
                    ),
                )
            wait(browser, lambda _: "how many." in article.text)
            article.find_element(By.XPATH, ".//summary[.='Example']").click()
            shown = ".//details[summary='Example']/pre"
            example = wait(browser, lambda _: json.loads(article.find_element(By.XPATH, shown).text))
            self.assertEqual((example["to"]["country"], example["lines"][0]["article"]), ("DE", "bolt"))
            browser.find_element(By.LINK_TEXT, "Not in OpenAPI (1)").click()
            wait(browser, lambda _: "a part without a name" in text(browser, "article"))
            self.assertIn("by_name", text(browser, "article"))

        await self.look(looks)


def enter(browser: Any, **values: str) -> None:
    """Enter a token or a password."""
    wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, "#access form"))
    form = browser.find_element(By.CSS_SELECTOR, "#access form")
    for name, value in values.items():
        find(form, f"[name={name}]").send_keys(value)
    find(form, "button").click()


class TokenTests(DocsPageTestCase):
    """Services that require a token or a password."""

    @slow
    async def test_token_is_entered_once_and_nothing_is_visible_before(self) -> None:
        """All pages work afterwards: calls, jobs, the status, Swagger UI. A new tab asks again."""
        folder = os.path.abspath(self.folder_of(waiting=WAITING))
        token = private(os.path.join(folder, "token"), TOKEN)
        base = await self.serve(os.path.join(folder, "waiting.py"), "--token-file", token)
        path = os.path.join(folder, "go")
        go(path)

        def looks(browser: Any) -> None:
            for page in ("docs", "status", "swagger"):
                browser.get(f"{base}/-/{page}")
                wait(browser, lambda _: "Authentication required" in text(browser))
                for secret in ("hold", "waiting", "threads", "10"):
                    self.assertNotIn(secret, browser.page_source.replace("docs.js", ""), page)
                self.assertEqual(strangers(browser, base), [])
            browser.get(f"{base}/-/docs#hold")
            enter(browser, token="wrong")
            wait(browser, lambda _: "wrong token" in text(browser, "#access"))
            self.assertNotIn("hold", text(browser))
            enter(browser, token=TOKEN)
            article = wait(
                browser, lambda _: browser.find_element(By.CSS_SELECTOR, "article[data-function=hold]")
            )
            fill(article, path=path, text="called")
            call(article)
            wait(browser, lambda _: '"called"' in output(article))
            find(article, "[name=job]").click()
            call(article)
            wait(browser, lambda _: "done" in text(browser, ".job"))
            article = show(browser, base, "unauthorized")
            call(article)
            wait(
                browser, lambda _: "the function refuses" in output(article)
            )  # this is no reason to ask again
            browser.find_element(By.LINK_TEXT, "Status").click()
            wait(browser, lambda _: "requests per second" in text(browser))
            browser.find_element(By.CSS_SELECTOR, ".menu summary").click()
            browser.find_element(By.LINK_TEXT, "Swagger UI").click()
            block = "#operations-functions-hold_get"
            wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, block).click() or True)
            wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, ".try-out__btn").click() or True)
            for name, value in (("path", path), ("text", "swagger")):
                wait(
                    browser,
                    lambda _, name=name: browser.find_element(
                        By.CSS_SELECTOR, f"tr[data-param-name={name}] input"
                    ),
                ).send_keys(value)
            browser.find_element(By.CSS_SELECTOR, ".execute").click()
            wait(browser, lambda _: '"text": "swagger"' in text(browser, ".live-responses-table"))
            self.assertEqual(strangers(browser, base), [])
            browser.switch_to.new_window("tab")
            browser.get(f"{base}/-/docs")
            wait(browser, lambda _: "Authentication required" in text(browser))

        await self.look(looks)

    @slow
    async def test_password_is_entered_once(self) -> None:
        """The browser's own dialog does not appear. Its text may contain any character."""
        users = private(os.path.abspath(self.mktemp()), "änna:secret4anna\n")
        base = await self.serve(SHOP, "--auth", f"file:{users}")

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/docs")
            enter(browser, user="änna", password="wrong")
            wait(browser, lambda _: "wrong name or password" in text(browser, "#access"))
            enter(browser, user="änna", password="secret4anna")
            wait(browser, lambda _: "Sells bolts" in text(browser))
            article = show(browser, base, "get_article")
            fill(article, name="nut")
            call(article)
            wait(browser, lambda _: '"price": 0.05' in output(article))
            browser.find_element(By.XPATH, "//button[.='Sign out']").click()
            wait(browser, lambda _: "Authentication required" in text(browser))

        await self.look(looks)


class AccessibilityTests(DocsPageTestCase):
    if NO_AXE:
        skip = NO_AXE

    @slow
    async def test_axe_finds_nothing_serious(self) -> None:
        """In both themes, on a phone, a tablet and a wide screen. Nothing is wider than the window."""
        token = private(os.path.abspath(self.mktemp()), TOKEN)
        base = await self.serve(SHOP, "--token-file", token)

        def looks(browser: Any) -> None:
            def asked() -> None:
                wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, "#access form"))

            audit_pages(self, browser, {f"{base}/-/docs": asked})
            enter(browser, token=TOKEN)

            def loaded() -> None:
                wait(browser, lambda _: browser.title.startswith("shop"))

            def called() -> None:
                article = wait(
                    browser, lambda _: browser.find_element(By.CSS_SELECTOR, "article[data-function]")
                )
                browser.execute_script(OPEN)
                fill(article, by="x")
                fill(article, by="")
                call(article)
                wait(browser, lambda _: "200 OK" in output(article))

            others = ("docs#", "docs#not-in-openapi", "status", "swagger")
            pages = {f"{base}/-/docs#place_order": called}
            audit_pages(self, browser, {**pages, **{f"{base}/-/{each}": loaded for each in others}})

        await self.look(looks)

    @slow
    async def test_axe_finds_nothing_serious_on_pages_of_errors(self) -> None:
        """They follow the theme of the system."""
        base = await self.serve(SHOP, "--display-tracebacks")

        def looks(browser: Any) -> None:
            for theme in ("light", "dark"):
                set_system_theme(browser, theme)
                for width in (390, 768, 1400):
                    resize(browser, width)
                    browser.get(f"{base}/article/")
                    self.assertIn("The most similar patterns", text(browser))
                    audit(self, browser, f"error, {theme}, {width}")

        await self.look(looks)
