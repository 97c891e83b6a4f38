"""Tests with a real browser: the pages are usable, and pages of others cannot call.

C{SCREENSHOTS=folder} keeps pictures of the pages.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.serving.test_command import CommandTestCase
from tests.support.page_checks import wait
from tests.support.programs import ROOT
from tests.support.slow import slow
from tests.support.wire import fetch
from twisted_appserver import make_service

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
DARK = ("--force-dark-mode", "--enable-features=WebContentsForceDark:no")
SECONDS = 20.0  # until a page must show what the test waits for

KEEP = """

def keep(**files: Upload) -> dict[str, int]:
    return {name: len(file.data) for name, file in files.items()}


url_patterns += (Route("/keep/", keep, methods=["POST"]),)
"""
SHOP = '''\
"""A shop."""

import time
from typing import Annotated

from msgspec import Meta

PRICES = {"bolt": 0.15, "nut": 0.05}


def price(name: str, count: Annotated[int, Meta(ge=1, le=1000)] = 1) -> dict:
    """What so many things of a kind cost.

    In euros.
    """
    return {"name": name, "count": count, "price": PRICES[name] * count}


def order(name: str, count: Annotated[int, Meta(ge=1)], note: str = "") -> dict:
    """Order a thing."""
    return {"ordered": name, "count": count, "note": note}


def slow(seconds: float) -> dict:
    """Take so long."""
    time.sleep(seconds)
    return {"slept": seconds}


def bake(loaves: int):
    """Bake, loaf after loaf."""
    for loaf in range(1, loaves + 1):
        time.sleep(0.05)
        yield {"done": loaf, "total": loaves}


url_patterns = (
    (r"/bake/(?P<loaves>)/", bake),
    (r"/price/(?P<name>[a-z]+)/", price),
    (r"/order/(?P<name>[a-z]+)/", order),
    (r"/slow/(?P<seconds>)/", slow),
)
'''

KINDS = '''\
from decimal import Decimal
from enum import Enum
from typing import Literal


class Size(Enum):
    SMALL = "1"


def kinds(
    number: int, numbers: list[int], price: Decimal, text: str | None, choice: Literal["1", "2"],
    size: Size, several: str | list[int], anything, flag: bool | None = None,
):
    """Say what came."""
    return {name: repr(value) for name, value in locals().items()}


url_patterns = ((r"/kinds/?", kinds),)
'''
TYPED: dict[str, tuple[str | list[str], str]] = {  # what is typed, and what the function gets
    "number": ("9007199254740993", "9007199254740993"),
    "numbers": (["1", "9007199254740993"], "[1, 9007199254740993]"),
    "price": ("1.10", "Decimal('1.10')"),
    "text": ("123", "'123'"),
    "choice": ("1", "'1'"),
    "size": ("1", "<Size.SMALL: '1'>"),
    "several": ("[1]", "[1]"),
    "anything": ('say "hello"', "'say \"hello\"'"),
    "flag": ("true", "True"),
}

COUNTED = """\
from twisted_appserver import Reply

calls = []

def call(**variables):
    calls.append(variables)
    return {"called": len(calls)}

def count():
    return {"calls": len(calls)}

def page():
    return Reply("<!doctype html><title>page</title><p>A page.", headers={"content-type": "text/html"})

url_patterns = ((r"/call/", call), (r"/count/", count), (r"/page/", page))
"""

# Everything that a page can try: it ends with a list of what came of it.
ATTACK = """
const [target, done] = arguments;
const tries = [];
const kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];
for (const type of [...kinds, "application/json"])
  for (const mode of ["cors", "no-cors"])
    tries.push({method: "POST", mode, headers: {"Content-Type": type}, body: '{"a": "b"}'});
tries.push({}, {mode: "no-cors"}, {credentials: "include"}, {method: "PUT"}, {keepalive: true});
(async () => {
  const came = [];
  for (const options of tries)
    await fetch(target, options).then(async answer => came.push(answer.type + answer.status),
                                      error => came.push("refused"));
  navigator.sendBeacon(target, "a=b");
  await new Promise(ended => {
    const image = new Image();
    image.onload = image.onerror = ended;
    image.src = target;
  });
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame);
  for (const kind of kinds) {
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: target, target: "frame", enctype: kind});
    document.body.append(form);
    await new Promise(ended => { frame.onload = ended; setTimeout(ended, 2000); form.submit(); });
  }
  done(came);
})();
"""


class BrowserTestCase(CommandTestCase):
    timeout = 600
    if not (BROWSER and DRIVER):
        skip = "there is no chromium with chromedriver (Debian: apt-get install chromium chromium-driver)"

    def browser(self, *words: str) -> Any:
        """
        Start a browser with its own profile, which ends with the test. Call this in a thread
        (C{deferToThread}).
        """
        options = webdriver.ChromeOptions()
        options.binary_location = str(BROWSER)
        profile = os.path.abspath(self.mktemp())
        quiet = ("--disable-background-networking", "--disable-component-update", "--no-first-run")
        for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", *quiet,
                     f"--user-data-dir={profile}", *words):  # fmt: skip
            options.add_argument(word)
        service = webdriver.ChromeService(executable_path=DRIVER)
        browser = webdriver.Chrome(options=options, service=service)
        browser.set_script_timeout(SECONDS * 2)
        return browser

    async def look(self, looks: Callable[[Any], Any], *words: str) -> Any:
        """Return what C{looks} returns. It is called with a browser, in a thread."""

        def run() -> Any:
            browser = self.browser(*words)
            try:
                return looks(browser)
            finally:
                browser.quit()

        return await deferToThread(run)


def text(browser: Any, selector: str = "body") -> str:
    return str(browser.find_element(By.CSS_SELECTOR, selector).text)


def show(browser: Any, base: str, function: str) -> Any:
    """Open the form of a function. Returns its article."""
    browser.get(f"{base}/-/docs#{function}")
    selector = f"article[data-function={function}]"
    return wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, selector))


def picture(browser: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        browser.save_screenshot(os.path.join(folder, f"{name}.png"))


def strangers(browser: Any, base: str) -> list[str]:
    """Return the addresses on other servers that the page has requested."""
    script = "return performance.getEntriesByType('resource').map(each => each.name)"
    return [name for name in browser.execute_script(script) if not name.startswith(base)]


class PageTests(BrowserTestCase):
    """The pages of a service."""

    async def check(self, name: str, *words: str, dark: bool = False, size: str = "1000,900") -> None:
        """Open the functions, call one, read its response, and open the status."""
        program = self.twistd("--port", "0", *words, folder=self.folder_of(shop=SHOP))
        await self.look_at(f"http://localhost:{await program.port()}", name, dark, size)
        await self.stopped(program)

    @slow
    async def test_file_is_sent(self) -> None:
        """A function that takes an Upload, or files of any names, has a field for a file."""
        source = (ROOT / "examples" / "media.py").read_text()
        folder = self.folder_of(media=source + KEEP)
        program = self.twistd("--port", "0", "--app", "media", folder=folder)
        base = f"http://localhost:{await program.port()}"
        path = os.path.join(self.folder_of(), "photo.txt")
        with open(path, "w") as file:
            file.write("x" * 30)

        def looks(browser: Any) -> None:
            article = show(browser, base, "attach")
            article.find_element(By.NAME, "file").send_keys(path)
            article.find_element(By.NAME, "title").send_keys("hello")
            article.find_element(By.CSS_SELECTOR, "button.main").click()
            wait(browser, lambda _: '"size": 30' in text(browser, "output"))
            self.assertIn('"title": "hello"', text(browser, "output"))
            article = show(browser, base, "keep")
            article.find_element(By.NAME, "files").send_keys(path)
            article.find_element(By.CSS_SELECTOR, "button.main").click()
            wait(browser, lambda _: '"files": 30' in text(browser, "output"))

        await self.look(looks)
        await self.stopped(program)

    async def look_at(self, base: str, name: str, dark: bool = False, size: str = "1000,900") -> None:
        def looks(browser: Any) -> None:
            article = show(browser, base, "price")
            self.assertIn("What so many things of a kind cost.", article.text)
            button = article.find_element(By.CSS_SELECTOR, "button.main")
            for field, value in (("name", "bolt"), ("count", "3")):
                article.find_element(By.NAME, field).send_keys(value)
            button.click()
            wait(browser, lambda _: '"count": 3' in text(browser, "output"))
            self.assertIn("200 OK", text(browser, "output"))
            picture(browser, f"docs-{name}")
            article.find_element(By.NAME, "count").send_keys("000")
            button.click()
            self.assertIn("must be integer, 1 to 1000", article.text)
            self.assertIn('"count": 3,', text(browser, "output"))  # no further call was made
            self.assertEqual(strangers(browser, base), [])
            self.follow(browser, base)
            self.assertEqual(strangers(browser, base), [])
            wide = "return document.documentElement.scrollWidth <= window.innerWidth"
            self.assertTrue(browser.execute_script(wide))
            shade = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            self.assertEqual(int(shade.strip("rgb()").split(",")[0]) < 128, dark)
            browser.get(f"{base}/-/status")
            browser.execute_script("for (let n = 0; n < 50; n++) fetch('../price/nut/')")
            wait(browser, lambda _: "price" in text(browser, "main"))
            points = "return document.querySelector('.plot .line').getAttribute('d').split('L').length"
            wait(browser, lambda _: browser.execute_script(points) > 2)
            picture(browser, f"status-{name}")
            self.assertTrue(browser.execute_script(wide))
            self.assertEqual(strangers(browser, base), [])

        shown = DARK if dark else ()
        await self.look(looks, f"--window-size={size}", *shown)

    def follow(self, browser: Any, base: str) -> None:
        """Watch the bar of a job until it is full, and read the items of a stream."""
        article = show(browser, base, "bake")
        article.find_element(By.NAME, "loaves").send_keys("30")
        article.find_element(By.CSS_SELECTOR, "button.main").click()
        wait(browser, lambda _: '"done":30' in text(browser, "output"))
        article.find_element(By.NAME, "job").click()
        article.find_element(By.CSS_SELECTOR, "button.main").click()
        seen = set[float]()

        def ended(_: Any) -> bool:
            seen.add(float(article.find_element(By.TAG_NAME, "progress").get_attribute("value") or 0))
            return "done, 30 items" in article.text

        wait(browser, ended)
        self.assertTrue(any(0 < share < 1 for share in seen), seen)
        self.assertEqual(float(article.find_element(By.TAG_NAME, "progress").get_attribute("value")), 1.0)

    async def mounted(self, service: Any) -> str:
        """Mount an application below a prefix of a stock Site. Return its address."""
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        root = Resource()
        root.putChild(b"some", service.resource)
        port = reactor.listenTCP(0, Site(root), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return f"http://localhost:{port.getHost().port}/some"

    @slow
    async def test_pages_work_below_a_prefix(self) -> None:
        """Of a stock Site of twisted.web, in the dark scheme."""
        folder = self.folder_of(shop=SHOP)
        base = await self.mounted(make_service(app=os.path.join(folder, "shop.py"), port=0))
        await self.look_at(base, "prefix-narrow-dark", dark=True, size="500,900")

    @slow
    async def test_pages_work_on_a_wide_screen(self) -> None:
        """In the light scheme."""
        await self.check("wide-light", "--app", "shop.py")

    @slow
    async def test_pages_work_on_a_narrow_screen(self) -> None:
        """Of a phone, with worker processes."""
        await self.check(
            "narrow-light", "--app", "shop.py", "--type", "forked", "--workers", "2", size="500,900"
        )

    @slow
    async def test_pages_work_with_the_channel_of_twisted(self) -> None:
        """In the dark scheme."""
        await self.check("wide-dark", "--app", "shop.py", "--channel", "twisted", dark=True)

    @slow
    async def test_errors_are_pages_that_lead_to_the_functions(self) -> None:
        """Below a prefix of another Site too. A missing slash is added, and the query is kept."""
        folder = self.folder_of(shop=SHOP)
        service = make_service(app=os.path.join(folder, "shop.py"), port=0)
        below = await self.mounted(service)
        root = f"http://localhost:{service.ports[0].getHost().port}"

        def looks(browser: Any) -> None:
            for base in (below, root):
                for path in ("/", "/nothing/here/<b>x"):
                    browser.get(base + path)
                    self.assertEqual(text(browser, "h1"), "404 Not Found")
                    self.assertEqual(browser.find_elements(By.TAG_NAME, "b"), [])
                    browser.find_element(By.TAG_NAME, "a").click()
                    wait(browser, lambda _: "Order a thing." in text(browser))
                    self.assertEqual(browser.current_url, f"{base}/-/docs")
                browser.get(f"{base}/price/nut?count=2")
                self.assertEqual(browser.current_url, f"{base}/price/nut/?count=2")
                self.assertIn('"count":2', text(browser))
                picture(browser, "redirected")

        await self.look(looks)

    @slow
    async def test_typed_values_arrive_with_their_types(self) -> None:
        """The form of a function sends every digit that was typed."""
        program = self.twistd("--port", "0", "--app", "kinds.py", folder=self.folder_of(kinds=KINDS))
        base = f"http://localhost:{await program.port()}"

        def looks(browser: Any) -> None:
            article = show(browser, base, "kinds")
            Select(article.find_element(By.TAG_NAME, "select")).select_by_visible_text("POST /kinds")
            article.find_element(By.CSS_SELECTOR, "[aria-label='Add an item to numbers']").click()
            for name, (value, _) in TYPED.items():
                fields = article.find_elements(By.NAME, name)
                for field, part in zip(fields, value if isinstance(value, list) else [value], strict=True):
                    field.send_keys(part)
            article.find_element(By.CSS_SELECTOR, "button.main").click()
            wait(browser, lambda _: "200 OK" in text(browser, "output"))
            answer = json.loads(text(browser, "output pre"))
            self.assertEqual(answer, {name: came for name, (_, came) in TYPED.items()})

        await self.look(looks)
        await self.stopped(program)

    @slow
    async def test_swagger_ui_calls_a_function(self) -> None:
        """The optional Swagger UI is served too, and loads nothing from other servers."""
        program = self.twistd("--port", "0", "--app", "shop.py", folder=self.folder_of(shop=SHOP))
        base = f"http://localhost:{await program.port()}"

        def looks(browser: Any) -> None:
            browser.get(f"{base}/-/docs")
            wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, ".menu summary").click() or True)
            browser.find_element(By.LINK_TEXT, "Swagger UI").click()
            block = "#operations-functions-price_by_name_get"
            wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, block).click() or True)
            press = ".try-out__btn"
            wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, press).click() or True)
            field = wait(
                browser, lambda _: browser.find_element(By.CSS_SELECTOR, "tr[data-param-name=name] input")
            )
            field.send_keys("bolt")
            browser.find_element(By.CSS_SELECTOR, ".execute").click()
            wait(browser, lambda _: '"price": 0.15' in text(browser, ".live-responses-table"))
            picture(browser, "swagger")
            self.assertEqual(strangers(browser, base), [])

        await self.look(looks, "--window-size=1000,1200")
        await self.stopped(program)


class OriginTests(BrowserTestCase):
    """Pages of other origins."""

    async def attack(self, *words: str, name: str = "localhost") -> tuple[list[str], int]:
        """Let a page try to call our server. Return the results, and how often the function was called."""
        folder = self.folder_of(app=COUNTED)
        other = self.twistd("--port", "0", "--allow-host", "evil.example", folder=folder)
        there = await other.port()
        ours = self.twistd("--port", "0", *(word.format(there=there) for word in words), folder=folder)
        here = await ours.port()
        host = name if name != "rebound" else "evil.example"

        def looks(browser: Any) -> list[str]:
            if name == "rebound":  # its name leads to our server by now
                browser.get(f"http://evil.example:{here}/call/")
                self.assertIn("421", text(browser))
                return [text(browser)]
            browser.get(f"http://{host}:{there}/page/")
            self.assertEqual(text(browser), "A page.")
            return list(browser.execute_async_script(ATTACK, f"http://localhost:{here}/call/"))

        came = await self.look(looks, "--host-resolver-rules=MAP evil.example 127.0.0.1")
        calls = (await fetch(here, "/count/")).json["calls"]
        for program in (ours, other):
            await self.stopped(program)
        return came, calls

    @slow
    async def test_page_of_another_origin_is_refused(self) -> None:
        """Neither a form, C{fetch} with any content type, a beacon nor an image calls a function."""
        for name in ("localhost", "127.0.0.1", "evil.example"):
            came, calls = await self.attack(name=name)
            self.assertEqual(calls, 0, name)
            self.assertEqual({each for each in came if not each.startswith("opaque")}, {"refused"}, name)

    @slow
    async def test_rebound_name_is_refused(self) -> None:
        """The name of the page resolves to our server by now (DNS rebinding)."""
        _, calls = await self.attack(name="rebound")
        self.assertEqual(calls, 0)

    @slow
    async def test_page_of_an_allowed_origin_may_call(self) -> None:
        """It can read the responses."""
        came, calls = await self.attack("--allow-origin", "http://evil.example:{there}", name="evil.example")
        self.assertIn("cors200", came)
        self.assertGreaterEqual(calls, came.count("cors200"))
