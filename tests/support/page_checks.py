"""What tests of pages check with a browser: nothing moves, clicks succeed, and axe finds no fault."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.support.programs import ROOT

AXE = ROOT / "tests" / "support" / "node" / "node_modules" / "axe-core" / "axe.min.js"
NO_AXE = (
    f"axe-core is not installed (npm install --prefix {AXE.parents[2]})"
    if not AXE.is_file() and os.environ.get("SLOW_TESTS")
    else None
)
AUDIT = """
const done = arguments[arguments.length - 1];
axe.run({ exclude: ["#functions"] }).then(found => done(found.violations
  .filter(each => each.impact === "serious" || each.impact === "critical")
  .map(each => `${each.id}: ${each.nodes.map(node => node.target).join(", ")}`)));
"""
# The elements whose focus ring (2 px wide, 2 px away) is cut off by an element around them.
CUT = """
const rings = document.querySelectorAll("#main :is(a[href], button, summary, input, select)");
const isCut = each => {
  if (each.ariaDisabled === "true" || !each.checkVisibility()) return false;
  const ring = each.getBoundingClientRect();
  for (let around = each.parentElement; around.id !== "main"; around = around.parentElement) {
    const { left, top, right, bottom } = around.getBoundingClientRect();
    if (getComputedStyle(around).overflowY === "hidden" &&
        (ring.left - 3 < left || ring.top - 3 < top || ring.right + 3 > right || ring.bottom + 3 > bottom))
      return true;
  }
};
return [...rings].filter(isCut).map(each => each.outerHTML);
"""
WIDE = "return document.documentElement.scrollWidth > window.innerWidth"
ASKED = (
    "return performance.getEntriesByType('resource').filter(each => each.name.includes(arguments[0])).length"
)
# Selects the text of an element, focuses another one, and scrolls to it.
USE = """
const [text, focused] = arguments;
scrollTo(0, focused.getBoundingClientRect().top + scrollY - 200);
focused.focus({ preventScroll: true });
getSelection().selectAllChildren(text);
performance.clearResourceTimings();
window.used = [text, focused];
"""
USED = """
const [text, focused] = window.used;
return [getSelection().toString(), document.activeElement === focused, focused.getBoundingClientRect().top];
"""
REFRESHES, CLICKS, PRESSED = 10, 10, 0.15  # seconds


def wait(browser: Any, condition: Callable[[Any], Any]) -> Any:
    """Return the first true value of a condition."""
    return WebDriverWait(browser, 20, 0.05, [Exception]).until(condition)


def find(browser: Any, selector: str) -> Any:
    return wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, selector))


def named(browser: Any, label: str) -> Any:
    """Wait for a visible element with an accessible name."""
    selector = f"[aria-label={json.dumps(label)}]"
    return wait(
        browser,
        lambda _: next(
            each for each in browser.find_elements(By.CSS_SELECTOR, selector) if each.is_displayed()
        ),
    )


def send(method: str, url: str, document: Any = None, **headers: str) -> Any:
    """Send a request outside of the browser, and return the document in the response."""
    body = None if document is None else json.dumps(document).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if body:
        fields["Content-Type"] = "application/json"
    with urlopen(Request(url, body, fields, method=method), timeout=20) as answer:
        return json.loads(answer.read() or b"null")


def resize(browser: Any, width: int, height: int = 900) -> None:
    """Give the window a size; it is the window of a phone if it is narrow."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def set_system_theme(browser: Any, theme: str) -> None:
    """Let the system prefer the theme C{light} or C{dark}."""
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def check_nothing_moves(
    test: Any,
    browser: Any,
    request: str,
    text: Any,
    focused: Any,
    meanwhile: Callable[[int], Any] = lambda number: None,
) -> None:
    """
    Check that the selection of a text, the focus and the scroll position survive ten refreshes.

    @param request: a part of the address that is requested for each refresh.
    @param meanwhile: is called before each refresh, with its number; it may change what the page shows.
    """
    edge = ActionBuilder(browser)
    edge.pointer_action.move_to_location(1, 1)  # on no row: the page would keep that one in its place
    edge.perform()
    browser.execute_script(USE, text, focused)
    before = browser.execute_script(USED)
    test.assertTrue(before[0] and before[1], before)
    for number in range(REFRESHES):
        meanwhile(number)
        wait(browser, lambda _, number=number: browser.execute_script(ASKED, request) > number + 1)
    after = browser.execute_script(USED)
    test.assertEqual(after[:2], before[:2])
    test.assertLess(abs(after[2] - before[2]), 1)  # rows may have heights that are no whole pixels


def press(browser: Any, element: Any, delay: float = 0) -> None:
    """
    Click on an element with a press of 150 milliseconds.

    @param delay: seconds until the press begins, while the pointer is on the element.
    """
    actions = ActionChains(browser).move_to_element(element).pause(delay).click_and_hold()
    actions.pause(PRESSED).release().perform()


def tab_to(browser: Any, label: str) -> Any:
    """Press Tab until the focus is on an element whose name, or whose text, begins with a label."""
    name = "const each = document.activeElement; return each.ariaLabel || each.textContent"
    for _ in range(80):
        if str(browser.execute_script(name)).startswith(label):
            return browser.switch_to.active_element
        ActionChains(browser).send_keys(Keys.TAB).perform()
    raise AssertionError(f"Tab does not reach {label}")


def audit_pages(test: Any, browser: Any, pages: dict[str, Callable[[], Any]]) -> None:
    """
    Check with axe that pages have no serious fault, and are not wider than the window, in both themes and
    three widths.

    @param pages: addresses, each with a function that waits until the page shows everything.
    """
    for theme in ("light", "dark"):
        for width in (390, 768, 1400):
            resize(browser, width)
            for address, ready in pages.items():
                browser.get("about:blank")
                browser.get(address)
                Select(find(browser, "[aria-label=Theme]")).select_by_value(theme)
                ready()
                audit(test, browser, f"{address}, {theme}, {width}")


def audit(test: Any, browser: Any, where: str) -> None:
    """Check the page as it is now. C{where} is for the message."""
    browser.execute_script(AXE.read_text())
    test.assertEqual(browser.execute_async_script(AUDIT), [], where)
    test.assertFalse(browser.execute_script(WIDE), where)
    test.assertEqual(browser.execute_script(CUT), [], where)
