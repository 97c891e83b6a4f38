"""Tests of what browsers load for the pages: little, and nothing from other servers."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from tests.admin.test_admin import MOST_LOADED
from tests.admin.test_browser import strangers, text
from tests.admin.test_docs_page import SHOP, DocsPageTestCase
from tests.support.page_checks import wait
from tests.support.slow import slow
from twisted_appserver.admin import pages

# The page itself and its files as they were sent, without the data that scripts request: [address, bytes].
LOADED = """
const found = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
return found.filter(each => each.initiatorType !== "fetch").map(each => [each.name, each.encodedBodySize]);
"""
PAGES = {  # each with a text that it shows at the end
    "docs": "Sells bolts",
    "docs#place_order": "Copy as curl or Python",
    "status": "Requests per second",
    "jobs": "There are no such jobs",
    "queues": "There are no queues yet",
    "queues#emails": "Tasks per second",
}
NOT_LISTED = {
    "icon.svg",
    "page.html",
    "swagger.js",
}  # an icon may come late; a template, and the script of Swagger UI


class WeightTests(DocsPageTestCase):
    @slow
    async def test_pages_are_small_and_load_nothing_from_other_servers(self) -> None:
        """Each with all its files, and all together. Every file is used."""
        base = await self.serve(SHOP, "--store", f"sqlite:{os.path.abspath(self.mktemp())}")
        loaded: dict[str, int] = {}

        def looks(browser: Any) -> None:
            for page, shown in PAGES.items():
                browser.get("about:blank")
                browser.execute_cdp_cmd("Network.clearBrowserCache", {})
                browser.get(f"{base}/-/{page}")
                wait(browser, lambda _, shown=shown: shown in text(browser))
                self.assertEqual(strangers(browser, base), [], page)
                sizes = {urlsplit(name).path[3:]: size for name, size in browser.execute_script(LOADED)}
                self.assertTrue({page.partition("#")[0], "page.css", "theme.js"} <= sizes.keys(), sizes)
                self.assertTrue(all(sizes.values()), sizes)
                self.assertLess(sum(sizes.values()), MOST_LOADED, page)
                loaded.update(sizes)

        await self.look(looks)
        self.assertLess(sum(loaded.values()), MOST_LOADED)
        static = os.path.join(os.path.dirname(pages.__file__), "static")
        self.assertLessEqual(set(os.listdir(static)) - loaded.keys(), NOT_LISTED)
