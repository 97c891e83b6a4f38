"""Tests of L{twisted_appserver.core.error_page}."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.properties import given, st
from twisted_appserver import Call, HTTPError, Reply
from twisted_appserver.core.error_page import negotiate_error, prefers_html
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.testing import Client

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CHROMIUM = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
BROWSER = {"accept": FIREFOX}


class Texts(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def page(error: HTTPError, docs: str = "") -> Texts:
    call = Call("GET", "/", raw_headers=((b"accept", FIREFOX.encode()),))
    return Texts(negotiate_error(problem_reply(error, "id-7"), call, docs).body.decode())


class AcceptTests(SynchronousTestCase):
    def test_browsers_prefer_html_and_programs_do_not(self) -> None:
        for accept, expected in (
            (FIREFOX, True),
            (CHROMIUM, True),
            ("text/html", True),
            ("Text/HTML ; Q=0.5", True),
            ("text/html, application/json;q=0.9", True),
            ("", False),
            ("*/*", False),
            ("text/*", False),
            ("application/json, text/plain, */*", False),
            ("application/json, text/html", False),
            ("text/html;q=0.5, application/problem+json", False),
            ("text/html;q=0", False),
            ("text/html;q=0.0, */*", False),
            ("text/event-stream", False),
        ):
            self.assertEqual(prefers_html(accept), expected, accept)

    @given(st.text(st.characters(codec="latin-1")))
    def test_any_header_is_read(self, accept: str) -> None:
        prefers_html(accept)
        prefers_html(f"text/html;{accept}")


class PageTests(SynchronousTestCase):
    def test_page_says_what_is_wrong(self) -> None:
        found = page(HTTPError(404, "no such thing", extra={"retry_in": 5, "sku": ["a"]}))
        for text in ("404 Not Found", "no such thing", "id-7", "retry_in", "5", '["a"]'):
            self.assertIn(text, found.text)

    def test_closest_patterns_are_listed(self) -> None:
        """For developers. An evil pattern does no harm."""
        found = page(HTTPError(404, "x", extra={"closest_patterns": ["/a/<b>", "/c/"]}))
        self.assertEqual((found.tags.count("li"), "b" in found.tags), (2, False))
        self.assertIn("/a/<b>", found.text)

    def test_everything_is_escaped(self) -> None:
        evil = "<script>alert(1)</script>&amp;\"'"
        found = page(HTTPError(404, evil, extra={evil: {evil: evil}}), 'x"><script>')
        self.assertNotIn("script", found.tags)
        self.assertIn(evil, found.text)

    def test_status_and_headers_are_kept(self) -> None:
        """No script can run on the page."""
        call = Call("GET", "/", raw_headers=((b"accept", b"text/html"),))
        reply = negotiate_error(problem_reply(HTTPError(429, "x", {"Retry-After": "5"})), call)
        headers = dict(reply.headers)
        self.assertEqual((reply.status, headers["Retry-After"]), (429, "5"))
        self.assertEqual(headers["content-type"], "text/html; charset=utf-8")
        self.assertIn("default-src 'none'", headers["content-security-policy"])
        self.assertEqual([name for name, _ in reply.headers].count("content-type"), 1)

    def test_malformed_document_of_a_function_stays_as_it_is(self) -> None:
        call = Call("GET", "/", raw_headers=((b"accept", b"text/html"),))
        for body in (b"", b"[]", b"{}", b"null", b"\xff", b'{"status": 1}'):
            made = Reply(body, 404, (("content-type", "application/problem+json"),))
            self.assertEqual(negotiate_error(made, call).body, body)


class ServedTests(SynchronousTestCase):
    def setUp(self) -> None:
        def sold_out() -> Any:
            raise HTTPError(409, "<sold out>")

        def fails() -> Any:
            raise ValueError

        def own() -> Any:
            return Reply("gone", 410)

        async def on_reactor() -> Any:
            raise HTTPError(409, "<sold out>")

        self.client = Client(
            [(r"/sold", sold_out), (r"/fails", fails), (r"/own", own), (r"/reactor", on_reactor)],
        )

    def test_browser_gets_pages_and_others_get_json(self) -> None:
        for method, target, status in (
            ("GET", "/", 404),
            ("GET", "/nothing", 404),
            ("PUT", "/sold", 405),
            ("GET", "/sold", 409),
            ("GET", "/reactor", 409),
            ("GET", "/fails", 500),
            ("GET", "/-/nothing", 404),
            ("GET", "/%ff", 400),
        ):
            response = self.client.request(method, target, BROWSER)
            self.assertEqual(
                (response.status, response.headers["content-type"]), (status, "text/html; charset=utf-8")
            )
            self.assertIn(f"<h1>{status} ", response.text)
            self.assertEqual(response.headers["vary"], "accept")
            response = self.client.request(method, target)
            self.assertEqual((response.status, response.json["status"]), (status, status))
            self.assertEqual(response.headers["vary"], "accept")
        self.assertEqual(self.client.get("/own", headers=BROWSER).text, "gone")

    def test_errors_before_routing_are_pages_too(self) -> None:
        response = self.client.get("/sold", headers={**BROWSER, "host": "evil.example"})
        self.assertEqual((response.status, "<h1>421 " in response.text), (421, True))

    def test_head_has_the_same_length(self) -> None:
        length = len(self.client.get("/nothing", headers=BROWSER).body)
        response = self.client.request("HEAD", "/nothing", BROWSER)
        self.assertEqual((response.headers["content-length"], response.body), (str(length), b""))

    def test_error_of_a_job_stays_json(self) -> None:
        """It is a page only where the browser opens it."""
        place = (
            "/" + self.client.get("/sold", headers={**BROWSER, "prefer": "respond-async"}).headers["location"]
        )
        self.assertEqual(self.client.get(place, headers=BROWSER).json["error"]["detail"], "<sold out>")
        self.assertEqual(self.client.get(place + "/result").json["detail"], "<sold out>")
        response = self.client.get(place + "/result", headers=BROWSER)
        self.assertIn("&lt;sold out&gt;", response.text)
        self.assertEqual(response.headers["vary"], "accept")
