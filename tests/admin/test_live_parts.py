"""Tests of the parts that live pages share: rows, documents that are loaded again, plots."""

from __future__ import annotations

from typing import Any

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from tests.admin.test_browser import text
from tests.admin.test_docs_page import SHOP, DocsPageTestCase
from tests.support.page_checks import wait
from tests.support.slow import slow

# Defines show(items), which updates rows of [key, value], and names(), which returns their keys.
ROWS = """
const done = arguments[0];
import("./rows.js").then(({ updateRows, steadily }) => {
  const main = document.getElementById("main"), list = document.createElement("div");
  main.replaceChildren(list);
  const make = ([name]) => Object.assign(document.createElement("input"), { name });
  const update = (row, [, value]) => { row.title = value; };
  window.list = list;
  window.names = () => [...list.children].map(row => row.name + (row.className && `:${row.className}`));
  window.show = items => updateRows(list, items, item => item[0], make, update);
  const paragraph = Object.assign(document.createElement("p"), { textContent: "new" });
  window.push = () => steadily(() => main.prepend(paragraph));
  show([["a", "a1"], ["b", "b1"], ["c", "c1"]]);
  done();
});
"""
# Loads a document three times; the response to the first request comes last.
LOADS = """
const done = arguments[0], asked = [], shown = [], fetched = window.fetch;
window.fetch = (url, options) => new Promise((answer, fail) => {
  asked.push(value => answer(new Response(JSON.stringify(value))));
  asked.at(-1).fail = fail;
});
const wait = condition => new Promise(met => {
  const look = () => condition() ? met() : setTimeout(look, 5);
  look();
});
import("./refresh.js").then(async ({ refresh }) => {
  const { node, now } = refresh(() => "x.json", value => shown.push(value), 0.01);
  await wait(() => asked.length === 1);
  now();
  await wait(() => asked.length === 2);
  asked[1]("new");
  asked[0]("old");
  await wait(() => asked.length === 3);
  asked[2].fail(new TypeError("Failed to fetch"));
  await wait(() => node.textContent);
  const problem = node.textContent;
  await wait(() => asked.length === 4);
  asked[3]("newest");
  await wait(() => shown.length === 2);
  const after = node.textContent;
  await wait(() => asked.length === 5);
  const hide = hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  hide(true);
  asked[4]("hidden");
  await new Promise(passed => setTimeout(passed, 100));
  const whileHidden = asked.length;
  hide(false);
  await wait(() => asked.length === 6);
  window.fetch = fetched;
  done([shown, problem.replace(/ [\\d:]+$/, ""), after, whileHidden]);
});
"""
PLOT = """
const [times, done] = arguments;
import("./plot.js").then(({ plot }) => {
  const write = value => String(Math.round(value)), now = Math.floor(Date.now() / 1000);
  const series = [{ name: "one", value: point => point[1] }, { name: "two", value: point => point[2] }];
  const { node, update } = plot("Things", series, write, 4);
  document.getElementById("main").replaceChildren(node);
  update(times.map(([ago, ...values]) => [now - ago, ...values]));
  requestAnimationFrame(() => requestAnimationFrame(() => done()));
});
"""


class LivePartTests(DocsPageTestCase):
    async def on_page(self, looks: Any) -> None:
        base = await self.serve(SHOP)

        def run(browser: Any) -> None:
            browser.get(f"{base}/-/docs")
            wait(browser, lambda _: "Sells bolts" in text(browser))
            looks(browser)

        await self.look(run)

    @slow
    async def test_rows_stay_where_they_are_while_they_are_used(self) -> None:
        """With the focus or the pointer in them: new ones come last. Afterwards they are in order again."""

        def looks(browser: Any) -> None:
            browser.execute_async_script(ROWS)

            def show(*keys: str, value: str) -> list[str]:
                items = [[key, key + value] for key in keys]
                found: list[str] = browser.execute_script("show(arguments[0]); return names()", items)
                return found

            self.assertEqual(show("c", "a", "b", value="2"), ["c", "a", "b"])
            browser.execute_script(
                "const b = list.children[2]; b.value = 'text'; b.focus(); b.setSelectionRange(1, 3)"
            )
            self.assertEqual(show("d", "b", "a", value="3"), ["c:gone", "a", "b", "d"])
            state = "const { name, title, selectionStart, selectionEnd } = document.activeElement;"
            found = browser.execute_script(f"{state} return [name, title, selectionStart, selectionEnd]")
            self.assertEqual(found, ["b", "b3", 1, 3])
            browser.execute_script("document.activeElement.blur()")
            self.assertEqual(show("d", "b", "a", value="4"), ["d", "b", "a"])
            row = browser.find_element(By.NAME, "b")
            ActionChains(browser).move_to_element(row).perform()
            self.assertEqual(show("b", "e", value="5"), ["d:gone", "b", "e"])
            before = row.rect["y"] - browser.execute_script("return scrollY")
            browser.execute_script("document.body.style.minHeight = '300vh'; push()")
            after = row.rect["y"] - browser.execute_script("return scrollY")
            self.assertLess(abs(after - before), 1)
            self.assertGreater(browser.execute_script("return scrollY"), 0)
            ActionChains(browser).move_to_element(browser.find_element(By.ID, "title")).perform()
            self.assertEqual(show("b", "e", value="6"), ["b", "e"])

        await self.on_page(looks)

    @slow
    async def test_old_response_never_replaces_a_newer_one(self) -> None:
        """Without a connection the page says so, and loads again. A hidden page loads nothing."""

        def looks(browser: Any) -> None:
            found = browser.execute_async_script(LOADS)
            self.assertEqual(found, [["new", "newest"], "No connection since", "", 5])

        await self.on_page(looks)

    @slow
    async def test_plot_shows_gaps_and_values(self) -> None:
        """Its times are chosen with the pointer or the keyboard."""

        def looks(browser: Any) -> None:
            times = [[300, 1, 2], [299, 3, None], [298, 5, 6], [100, 7, 8], [99, 9, 10]]
            browser.execute_async_script(PLOT, times)
            lines = [
                each.get_attribute("d") for each in browser.find_elements(By.CSS_SELECTOR, ".plot .line")
            ]
            self.assertEqual([line.count("M") for line in lines], [2, 3])
            self.assertEqual(len(browser.find_elements(By.CSS_SELECTOR, ".gap")), 2)
            plot = browser.find_element(By.CSS_SELECTOR, ".plot")
            axis = [each.text for each in plot.find_elements(By.TAG_NAME, "text")]
            self.assertEqual(axis[:3], ["0", "5", "10"])
            self.assertRegex(axis[3], r"^\d+:\d\d")
            self.assertEqual(plot.get_attribute("aria-valuetext"), "now: one 9, two 10")
            browser.execute_script("arguments[0].focus()", plot)
            for key, shown in (("ArrowLeft", ": one 7, two 8"), ("PageUp", ", not counted: one -, two -")):
                browser.execute_script(
                    "arguments[0].dispatchEvent(new KeyboardEvent('keydown', { key: arguments[1] }))",
                    plot,
                    key,
                )
                self.assertTrue(plot.get_attribute("aria-valuetext").endswith(shown), key)
            ActionChains(browser).move_to_element(plot).perform()
            self.assertIn("not counted", browser.find_element(By.TAG_NAME, "figcaption").text)

        await self.on_page(looks)
