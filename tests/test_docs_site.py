"""The documentation as a site, also in a browser without a server."""

from __future__ import annotations

import re
from dataclasses import fields
from html import unescape
from pathlib import Path
from typing import Any

from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By

from tests.admin.test_browser import BrowserTestCase
from tests.support.page_checks import wait
from tests.support.pages import DOCS
from tests.support.programs import ProgramTestCase
from tests.support.slow import slow
from twisted_appserver.settings import Settings

LISTEN = "document.addEventListener('copy', () => { window.copied = document.activeElement.value; })"
WORDS = {
    "authentication": "guide/authentication",
    "middleware": "guide/middleware",
    "max_pending": "operations/limits",
    "streaming": "guide/streaming",
    "retry": "background/retries",
    "prometheus": "operations/metrics",
}


@slow
class SiteTests(BrowserTestCase, ProgramTestCase):
    """The documentation as a site."""

    timeout = 1200  # the build takes a minute of a whole core, and minutes beside other tests
    site: Path | None = None

    async def build(self) -> Path:
        """Return the folder of the site, which is built once for all tests."""
        if SiteTests.site is None:
            site = self.folder / "site"
            command = ("-m", "sphinx", "-q", "-W", "-b", "html", "-d", str(self.folder / "work"))
            program = self.python(*command, str(DOCS), str(site))
            self.assertEqual(await program.ended, 0, program.output)
            self.assertEqual(program.output, "")
            SiteTests.site = site
        return SiteTests.site

    async def test_site_is_built_without_warnings(self) -> None:
        """It has every page and the reference of every module."""
        site = await self.build()
        for page in DOCS.rglob("*.md"):
            self.assertTrue((site / page.relative_to(DOCS).with_suffix(".html")).exists(), page)
        for name in ("dispatch.dispatcher.Dispatcher", "tqueue.client.queue.Queue", "jobs"):
            self.assertTrue((site / "api" / f"twisted_appserver.{name}.html").exists(), name)
        start = (site / "start.html").read_text()
        self.assertIn("examples/article.py", start)
        self.assertIn('href="guide/first-service.html"', start)

    async def test_internal_modules_are_behind_the_public_ones(self) -> None:
        """pydoctor hides them until the reader shows them."""
        text = ((await self.build()) / "api" / "index.html").read_text()
        rows = re.findall(r'(?s)<tr class="((?:module|package)[^"]*)">.*?<code[^>]*>(.*?)</code>', text)
        shown = [re.sub("<[^>]+>", "", name) for kind, name in rows if "private" not in kind]
        self.assertEqual(shown, ["client", "jobs", "settings", "testing", "tqueue"])
        self.assertGreater(len(rows), 15)

    async def test_public_names_lead_to_the_reference(self) -> None:
        """And every option is described there."""
        site = await self.build()
        links = re.findall(
            r'href="(\.\./api/[^"]+)"><code>', (site / "reference" / "python.html").read_text()
        )
        self.assertGreater(len(links), 40)
        for link in links:
            page, _, name = link.partition("#")
            text = (site / "reference" / page).read_text()
            self.assertTrue(not name or f'name="{name}"' in text or f'id="{name}"' in text, link)
        page = (site / "api" / "twisted_appserver.settings.Settings.html").read_text()
        shown = " ".join(unescape(re.sub("<[^>]+>", " ", page)).split())
        self.assertIn("further calls get 503. Default: 1000.", shown)
        for each in fields(Settings):
            self.assertIn(each.metadata["help"].partition(" [")[0] + ". Default: ", shown)

    async def test_first_page_begins_with_a_picture_and_the_example(self) -> None:
        """Each picture exists, and has a text for those who do not see it."""
        site = await self.build()
        text = (site / "index.html").read_text()
        main = text[text.index("<article") :]
        self.assertIn("get_object", main[: main.index("Why use it")])
        self.assertLess(main.index("<img"), main.index("get_object"))
        for picture in re.findall(r"<img [^>]+>", main):
            self.assertRegex(picture, 'alt="[^"]{20,}"')
            source = re.search('src="([^"]+)"', picture)
            self.assertTrue(source and (site / source[1]).exists(), picture)

    async def test_every_page_is_in_the_navigation(self) -> None:
        text = ((await self.build()) / "index.html").read_text()
        navigation = text[text.index('class="sidebar-tree"') : text.index('class="main"')]
        for page in DOCS.rglob("*.md"):
            name = str(page.relative_to(DOCS).with_suffix(".html"))
            if name != "index.html":
                self.assertIn(f'href="{name}"', navigation)

    async def test_commands_are_copied_without_prompts_and_output(self) -> None:
        site = await self.build()

        def looks(browser: Any) -> str:
            browser.get((site / "guide" / "streaming.html").as_uri())
            browser.execute_script(LISTEN)
            button = browser.find_element(By.CSS_SELECTOR, ".highlight-console button.copybtn")
            ActionChains(browser).scroll_to_element(button).move_to_element(button).click().perform()
            return str(wait(browser, lambda _: browser.execute_script("return window.copied")))

        copied = await self.look(looks)
        self.assertEqual(
            copied.splitlines(),
            ["curl -sN 'localhost:8080/countdown/?n=3'", "curl -sN 'localhost:8080/table/?n=3'"],
        )

    async def test_search_finds_subjects(self) -> None:
        """By the words that people type, among the first five results."""
        site = await self.build()

        def looks(browser: Any) -> dict[str, list[str]]:
            found, results = {}, (By.CSS_SELECTOR, "#search-results li a")
            for word in WORDS:
                browser.get(f"{(site / 'search.html').as_uri()}?q={word}")
                links = wait(browser, lambda _: browser.find_elements(*results))
                found[word] = [str(each.get_attribute("href")) for each in links[:5]]
            return found

        found = await self.look(looks)
        for word, page in WORDS.items():
            links = [link for link in found[word] if f"/{page}.html" in link]
            self.assertTrue(links, f"{word}: {found[word]}")
