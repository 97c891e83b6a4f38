"""
Takes the pictures of the pages for the documentation: C{python -m tests.support.screenshots [page ...]}.

Each page is taken in both themes and in three widths, and saved as C{docs/images/PAGE-WIDTH-THEME.png}, with
a palette so that the files are small. A page is a function in L{PAGES} that opens it and waits until it shows
what the picture needs. If it returns an element, the picture begins there.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.support.page_checks import resize, set_system_theme, wait
from tests.support.programs import ROOT
from tests.support.queue_figures import (
    FORM_ANSWERS,
    JOB_ANSWERS,
    OPEN_JOB,
    OPEN_TASK,
    QUEUE_ANSWERS,
    RUNNING_JOB,
)
from tests.support.status_figures import ERRORS, STATUS

WIDTHS = {390: 844, 768: 1024, 1400: 900}  # a phone, a tablet and a screen, with their heights
THEMES = ("light", "dark")
COLOURS, EXACT = 128, 64  # of the palette, and how many of them are exact
MOST_BYTES = 60_000  # of a picture
WORDS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars")
SECONDS = 20
# Answers the requests for some documents, so that the figures in a picture are the same each time.
ANSWERING = """
const answers = ANSWERS, fetched = window.fetch;
window.fetch = (url, options) => {
  const answer = answers[String(url).split("?")[0]];
  if (!answer) return fetched(url, options);
  const [status, statusText] = answer.status >= 400 ? [answer.status, answer.title] : [200, "OK"];
  const headers = { "Content-Type": "application/json" };
  return Promise.resolve(new Response(JSON.stringify(answer), { status, statusText, headers }));
};
"""


def open_function(browser: Any, base: str, name: str) -> Any:
    """Open the form of a function. Returns its article."""
    browser.get(f"{base}/-/docs#{name}")
    return wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, f"article[data-function={name}]"))


def docs(browser: Any, base: str) -> None:
    """A function with the response to a call."""
    article = open_function(browser, base, "get_article")
    article.find_element(By.NAME, "name").send_keys("bolt")
    Select(article.find_element(By.NAME, "currency")).select_by_visible_text("EUR")
    article.find_element(By.CSS_SELECTOR, "button.main").click()
    wait(browser, lambda _: '"price"' in article.find_element(By.TAG_NAME, "output").text)
    # The duration differs in each run, and the picture must not.
    browser.execute_script(
        "const shown = document.querySelector('output [role=status]');"
        "shown.textContent = shown.textContent.replace(/[\\d.]+\\sms/, '1.2 ms')"
    )


def order(browser: Any, base: str) -> None:
    """A form with objects, and the schema of one of them."""
    article = open_function(browser, base, "place_order")
    article.find_element(By.XPATH, ".//summary[.='Schema of Address']").click()


def index(browser: Any, base: str) -> None:
    """The overview of all functions."""
    browser.get(f"{base}/-/docs#")
    wait(browser, lambda _: "Sells bolts" in browser.find_element(By.TAG_NAME, "main").text)


def missing(browser: Any, base: str) -> None:
    """The functions that have no form, with the reasons."""
    browser.get(f"{base}/-/docs#not-in-openapi")
    wait(browser, lambda _: "a part without a name" in browser.find_element(By.TAG_NAME, "main").text)


def job_form(browser: Any, base: str) -> None:
    """A function that is performed as a job, with its progress."""
    open_with(browser, f"{base}/-/docs#train?job={RUNNING_JOB}", FORM_ANSWERS, lambda text: "23/40" in text)


def sign_in(browser: Any, base: str) -> None:
    """The page that asks for a token."""
    browser.get(f"{base}/-/docs")
    wait(browser, lambda _: "Authentication required" in browser.find_element(By.ID, "access").text)


def not_found(browser: Any, base: str) -> None:
    """The page for an address with a typing error, as developers see it."""
    browser.get(f"{base}/article/bolt/")
    browser.execute_script("document.querySelector('dd').textContent = 'eb3f3c71-17204'")  # it differs


def swagger(browser: Any, base: str) -> None:
    """Swagger UI."""
    browser.get(f"{base}/-/swagger")
    wait(browser, lambda _: browser.find_elements(By.CSS_SELECTOR, ".opblock"))


def open_with(browser: Any, address: str, answers: dict[str, Any], is_ready: Callable[[str], bool]) -> None:
    """
    Open a page whose requests get fixed answers.

    @param is_ready: whether the text of the page shows everything.
    """
    source = ANSWERING.replace("ANSWERS", json.dumps(answers))
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    browser.get("about:blank")
    browser.get(address)
    wait(browser, lambda _: is_ready(browser.find_element(By.TAG_NAME, "main").text))
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def status(browser: Any, base: str) -> None:
    """The status of a service that has run for a while."""
    answers = {"status.json": STATUS, "errors": ERRORS}
    open_with(browser, f"{base}/-/status", answers, lambda text: "KeyError" in text)


def errors(browser: Any, base: str) -> Any:
    """The workers, the running calls and the errors, with an open traceback."""
    status(browser, base)
    browser.find_element(By.XPATH, "//summary[contains(., 'KeyError')]").click()
    wait(browser, lambda _: "KeyError: 'mars'" in browser.find_element(By.TAG_NAME, "pre").text)
    return browser.find_element(By.XPATH, "//h2[.='Worker processes']")


def jobs(browser: Any, base: str) -> None:
    """Jobs in all states, and schedules."""
    open_with(browser, f"{base}/-/jobs", JOB_ANSWERS, lambda text: "Schedules" in text and "23/40" in text)


def job_details(browser: Any, base: str) -> None:
    """A job that has failed, with its traceback."""
    open_with(
        browser, f"{base}/-/jobs#?job={OPEN_JOB}", JOB_ANSWERS, lambda text: "Internal Server Error" in text
    )
    browser.find_element(By.CSS_SELECTOR, ".attempts summary").click()


def queues(browser: Any, base: str) -> None:
    """All queues."""
    open_with(browser, f"{base}/-/queues", QUEUE_ANSWERS, lambda text: "thumbnails" in text)


def queue(browser: Any, base: str) -> None:
    """One queue with its history and its buried tasks."""
    address = f"{base}/-/queues#emails?state=buried"
    open_with(browser, address, QUEUE_ANSWERS, lambda text: "smtp" in text and "customer-7" in text)


def task(browser: Any, base: str) -> Any:
    """An open task."""
    address = f"{base}/-/queues#emails?state=buried&task={OPEN_TASK}"
    open_with(browser, address, QUEUE_ANSWERS, lambda text: "Attempt 3" in text)
    browser.find_element(By.CSS_SELECTOR, ".attempts li:last-child summary").click()
    return browser.find_element(By.CSS_SELECTOR, "[role=tablist]")


PAGES: dict[str, Callable[[Any, str], Any]] = {
    "docs": docs,
    "docs-form": order,
    "docs-index": index,
    "docs-job": job_form,
    "docs-missing": missing,
    "sign-in": sign_in,
    "not-found": not_found,
    "status": status,
    "status-errors": errors,
    "jobs": jobs,
    "jobs-details": job_details,
    "queues": queues,
    "queue": queue,
    "queue-task": task,
    "swagger": swagger,
}


GUARDED = ("sign-in",)  # the pages of a service that requires a token


@contextmanager
def serve(*words: str) -> Any:
    """Start the service of the pictures with these options. Yields its address."""
    command = (sys.executable, "-m", "twisted", "appserver", "--app", "shop.py", "--port", "0", *words)
    program = subprocess.Popen(
        command, cwd=ROOT / "tests" / "support", stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        for line in program.stdout:
            if found := re.search(r"http://localhost:\d+", line):
                yield found[0]
                return
        raise RuntimeError("the server did not start")
    finally:
        program.terminate()
        program.wait(SECONDS)


def start_browser() -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in WORDS:
        options.add_argument(word)
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


def with_palette(picture: Any) -> Any:
    """
    Return a picture with a palette of at most 256 colours: the most frequent ones, such as those of the
    background and the text, stay exact; Pillow chooses the others so that rare colours stay recognizable.
    """
    counted = sorted(picture.getcolors(picture.width * picture.height), reverse=True)
    parts = picture.quantize(COLOURS - EXACT, Image.Quantize.MAXCOVERAGE).getpalette()
    chosen = [tuple(parts[place : place + 3]) for place in range(0, len(parts), 3)]
    table = list(dict.fromkeys([*(colour for _, colour in counted[:EXACT]), *chosen]))[:COLOURS]

    def nearest(colour: tuple[int, ...]) -> int:
        distances = [sum((a - b) ** 2 for a, b in zip(colour, each, strict=True)) for each in table]
        return distances.index(min(distances))

    places = {colour: nearest(colour) for _, colour in counted}
    made = Image.new("P", picture.size)
    made.putpalette([part for colour in table for part in colour])
    made.putdata([places[colour] for colour in picture.getdata()])
    return made


def save(png: bytes, name: str) -> None:
    """
    Save a picture with a palette.

    @raise ValueError: when it is too large for the repository.
    """
    picture = with_palette(Image.open(io.BytesIO(png)).convert("RGB"))
    path = ROOT / "docs" / "images" / f"{name}.png"
    picture.save(path, optimize=True)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{path} has {size} bytes, more than {MOST_BYTES}")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


def take(browser: Any, base: str, page: str) -> None:
    """Take the pictures of a page."""
    for width, height in WIDTHS.items():
        resize(browser, width, height)
        for theme in THEMES:
            browser.get(f"{base}/-/icon.svg")  # a document of the service, whose storage has the theme
            browser.execute_script(
                "localStorage.setItem('theme', arguments[0]); sessionStorage.clear()", theme
            )
            set_system_theme(browser, theme)  # pages of errors follow it
            top = PAGES[page](browser, base)
            browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
            if top is not None:
                browser.execute_script(
                    "document.body.style.paddingBottom = '100vh'; arguments[0].scrollIntoView()", top
                )
            save(browser.get_screenshot_as_png(), f"{page}-{width}-{theme}")


def main(names: list[str]) -> None:
    browser = start_browser()
    try:
        with tempfile.TemporaryDirectory() as folder:
            token = Path(folder, "token")
            token.write_text("0123456789abcdef")
            token.chmod(0o600)
            with serve("--display-tracebacks") as base, serve("--token-file", str(token)) as guarded:
                for page in names or PAGES:
                    take(browser, guarded if page in GUARDED else base, page)
    finally:
        browser.quit()


if __name__ == "__main__":
    main(sys.argv[1:])
