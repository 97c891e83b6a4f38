"""Tests of what forms keep, offer and copy, in a real browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.access.test_credentials import private
from tests.admin.test_browser import show, text
from tests.admin.test_docs_page import TOKEN, DocsPageTestCase, call, enter, fill, find, output, samples
from tests.support.page_checks import wait
from tests.support.slow import slow

APP = '''\
"""Functions with files, secrets and choices."""

from enum import Enum
from typing import Annotated, Literal

from msgspec import Meta

from twisted_appserver import Call, Route, Upload


PASSWORD = Annotated[str, Meta(extra_json_schema={"format": "password"})]


class Size(Enum):
    SMALL = "small"
    LARGE = "large"
    HUGE = "huge"


def photo(picture: Upload, more: list[Upload] = [], title: str = "") -> dict:
    files = [[each.filename, each.content_type, len(each.data)] for each in (picture, *more)]
    return {"files": files, "title": title}


def raw(call: Call) -> dict:
    return {"type": call.headers.get("content-type"), "length": len(call.body)}


def login(user: str, word: PASSWORD, settings: dict[str, str], size: Size = "small", days: list[int] = []):
    return {"user": user, "size": size, "days": days}


def choose(size: Size, unit: Literal["ton", "gram", "kilo"] | None = None, count: Literal[3, 1, 2] = 1):
    return {}


def add(numbers: list[int], note: Annotated[str, Meta(min_length=2)] = "none") -> dict:
    """Add numbers.

    @param numbers: what is added
    """
    return {"sum": sum(numbers)}


url_patterns = (
    Route(r"/photo/", photo, methods=["POST"]),
    Route(r"/raw/", raw, methods=["POST"]),
    (r"/login/", login),
    (r"/choose/", choose),
    (r"/add/", add),
)
'''
# For each field: its name, and the texts that describe it to a screen reader.
DESCRIBED = """
const fields = document.querySelectorAll("article form :is(input, select, textarea):not([name=job])");
return [...fields].map(each => [each.name, ...each.getAttribute("aria-describedby").split(" ").map(
  id => document.getElementById(id).textContent)]);
"""
STORED = "return JSON.stringify(Object.entries(sessionStorage))"


def options(article: Any, name: str) -> list[str]:
    return [each.text for each in Select(find(article, f"[name={name}]")).options]


class DraftTests(DocsPageTestCase):
    @slow
    async def test_values_survive_a_reload_but_secrets_do_not(self) -> None:
        """Until somebody signs out. A method and the box for jobs survive too."""
        folder = os.path.abspath(self.folder_of(forms=APP))
        token = private(os.path.join(folder, "token"), TOKEN)
        base = await self.serve(os.path.join(folder, "forms.py"), "--token-file", token)

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/docs")
            enter(browser, token=TOKEN)
            article = show(browser, base, "login")
            fill(article, user="ada", word="hunter2", settings='{"api_key": "swordfish"}')
            Select(find(article, "[name=size]")).select_by_visible_text("huge")
            for number in ("3", "9007199254740993"):
                find(article, "[aria-label='Add an item to days']").click()
                browser.switch_to.active_element.send_keys(number)
            find(article, "[name=job]").click()
            article = show(browser, base, "choose")
            Select(find(article, "select")).select_by_visible_text("POST /choose/")
            browser.get(f"{base}/-/docs#login")
            browser.refresh()
            article = wait(browser, lambda _: browser.find_element(By.TAG_NAME, "article"))
            wait(browser, lambda _: find(article, "[name=user]").get_attribute("value") == "ada")
            self.assertEqual(find(article, "[type=password][name=word]").get_attribute("value"), "")
            self.assertNotIn("swordfish", find(article, "[name=settings]").get_attribute("value"))
            self.assertEqual(find(article, "[name=size] :checked").text, "huge")
            days = article.find_elements(By.CSS_SELECTOR, "[name=days]")
            self.assertEqual([each.get_attribute("value") for each in days], ["3", "9007199254740993"])
            self.assertTrue(find(article, "[name=job]").is_selected())
            stored = browser.execute_script(STORED)
            self.assertIn("ada", stored)
            for secret in ("hunter2", "swordfish"):
                self.assertNotIn(secret, stored)
            article = show(browser, base, "choose")
            self.assertEqual(find(article, "select").get_attribute("value"), "POST /choose/")
            browser.find_element(By.XPATH, "//button[.='Sign out']").click()
            wait(browser, lambda _: "Authentication required" in text(browser))
            self.assertEqual(browser.execute_script(STORED), "[]")

        await self.look(looks)


class ChoiceTests(DocsPageTestCase):
    @slow
    async def test_values_are_offered_in_the_order_of_their_definition(self) -> None:
        base = await self.serve(os.path.abspath(os.path.join(self.folder_of(forms=APP), "forms.py")))

        def looks(browser: Any) -> None:
            article = show(browser, base, "choose")
            self.assertEqual(options(article, "size"), ["choose", "small", "large", "huge"])
            self.assertEqual(options(article, "unit"), ["unset", "ton", "gram", "kilo"])
            self.assertEqual(options(article, "count"), ["unset", "3", "1", "2"])

        await self.look(looks)


class FieldTests(DocsPageTestCase):
    @slow
    async def test_list_in_a_query_has_several_values(self) -> None:
        """Its hint, and what is wrong with a value, belong to the field for screen readers too."""
        base = await self.serve(os.path.abspath(os.path.join(self.folder_of(forms=APP), "forms.py")))

        def looks(browser: Any) -> None:
            article = show(browser, base, "add")
            self.assertEqual(find(article, "select").get_attribute("value"), "GET /add/")
            find(article, "[aria-label='Add an item to numbers']").click()
            fields = article.find_elements(By.NAME, "numbers")
            for field, value in zip(fields, ("40", "2"), strict=True):
                field.send_keys(value)
            fill(article, note="x")
            numbers = "what is added · list of integer, at least 1 item · in the query"
            note = "string, at least 2 characters · default none · in the query"
            self.assertEqual(
                browser.execute_script(DESCRIBED),
                [["numbers", numbers, ""]] * 2 + [["note", note, "must have at least 2 characters"]],
            )
            fill(article, note="xy")
            call(article)
            wait(browser, lambda _: '"sum": 42' in output(article))
            self.assertIn("/add/?numbers=40&numbers=2&note=xy", samples(article)[0])

        await self.look(looks)


class UploadSampleTests(DocsPageTestCase):
    @slow
    async def test_samples_send_files_as_the_form_does(self) -> None:
        """With their names and content types, as a part of a form and as the whole body."""
        folder = os.path.abspath(self.folder_of(forms=APP))
        base = await self.serve(os.path.join(folder, "forms.py"))
        names = ["sun set;1.png", 'the "best".txt', "unknown"]
        for length, name in enumerate(names, 3):
            with open(os.path.join(folder, name), "w") as file:
                file.write("x" * length)

        def sample(article: Any) -> tuple[str, list[str]]:
            """Call the function. Return the response, and the commands that the form offers."""
            call(article)
            wait(article.parent, lambda _: "Download" in output(article))  # it comes last
            return find(article, "output pre").text, samples(article)

        def looks(browser: Any) -> list[tuple[str, list[str]]]:
            article = show(browser, base, "photo")
            paths = [os.path.join(folder, name) for name in names]
            find(article, "[name=picture]").send_keys(paths[0])
            find(article, "[name=more]").send_keys("\n".join(paths[1:]))
            fill(article, title="it's @home;type=x")
            found = [sample(article)]
            article = show(browser, base, "raw")
            find(article, "[type=file]").send_keys(paths[0])
            found.append(sample(article))
            article = show(browser, base, "raw")
            browser.refresh()
            article = wait(browser, lambda _: browser.find_element(By.TAG_NAME, "article"))
            fill(article, body="plain text")
            return [*found, sample(article)]

        form, *_ = found = await self.look(looks)
        self.assertEqual(json.loads(form[0])["files"][0], [names[0], "image/png", 3])
        for shown, commands in found:
            for program, command in zip(("curl", "Python"), commands, strict=True):
                words = (
                    ["bash", "-c", f"{command} -s"] if program == "curl" else [sys.executable, "-c", command]
                )
                ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60)
                self.assertEqual(ran.returncode, 0, f"{command}\n{ran.stderr}")
                self.assertEqual(json.loads(ran.stdout.removeprefix("200 ")), json.loads(shown), command)
