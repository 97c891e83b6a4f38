"""Tests of Swagger UI in a real browser."""

from __future__ import annotations

import io
import os
from typing import Any

from PIL import Image
from selenium.webdriver.support.ui import Select

from tests.access.test_credentials import private
from tests.admin.test_browser import text
from tests.admin.test_docs_page import SHOP, TOKEN, DocsPageTestCase, enter, find
from tests.support.page_checks import WIDE, resize, wait
from tests.support.slow import slow

CORNER = """
arguments[0].scrollIntoView({ block: "center", behavior: "instant" });
const { x, y } = arguments[0].getBoundingClientRect();
return [x, y];
"""


class SwaggerTests(DocsPageTestCase):
    @slow
    async def test_swagger_ui_is_readable_in_the_dark_and_on_a_phone(self) -> None:
        """The dialog is in the middle of the window, and dark. So are blocks of code. Nothing is too wide."""
        token = private(os.path.abspath(self.mktemp()), TOKEN)
        base = await self.serve(SHOP, "--token-file", token)

        def click(browser: Any, selector: str) -> None:
            wait(browser, lambda _: find(browser, selector).click() or True)

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/swagger")
            enter(browser, token=TOKEN)
            Select(find(browser, "[aria-label=Theme]")).select_by_value("dark")
            for width in (1300, 390):
                resize(browser, width)
                browser.get("about:blank")
                browser.get(f"{base}/-/swagger")
                click(browser, ".btn.authorize")
                dialog = wait(browser, lambda _: find(browser, ".modal-ux"))
                place = dialog.rect
                self.assertLess(abs(place["x"] + place["width"] / 2 - width / 2), 10)
                self.assertLess(abs(place["y"] + place["height"] / 2 - 450), 10)
                for where in ((5, 450), (width / 2, place["y"] + 8)):
                    self.assertLess(brightness(browser, *where), 90, (width, where))
                click(browser, ".close-modal")
                click(browser, ".opblock[id*=get_article][id$=get] .opblock-summary-control")
                click(browser, ".try-out__btn")
                wait(browser, lambda _: find(browser, "tr[data-param-name=name] input")).send_keys("bolt")
                click(browser, ".execute")
                wait(browser, lambda _: "bolt" in text(browser, ".live-responses-table"))
                self.assertFalse(browser.execute_script(WIDE), width)
                block = find(browser, ".request-url pre")
                wait(browser, lambda _, block=block: corner_brightness(browser, block) < 90)

        await self.look(looks)


def corner_brightness(browser: Any, block: Any) -> int:
    """Scroll to a block, which moves while the page grows, and return the brightness of its corner."""
    left, top = browser.execute_script(CORNER, block)
    return brightness(browser, left + 4, top + 4)


def brightness(browser: Any, left: float, top: float) -> int:
    """Return the brightness of a pixel of the window, from 0 to 255."""
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L")
    return int(picture.getpixel((left, top)))
