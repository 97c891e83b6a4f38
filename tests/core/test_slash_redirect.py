"""Tests of L{twisted_appserver.core.slash_redirect}."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.support.properties import example, given, st
from twisted_appserver import Call, Route, Router
from twisted_appserver.core.request_target import make_call
from twisted_appserver.core.slash_redirect import slash_redirect
from twisted_appserver.errors import HTTPError
from twisted_appserver.testing import Client


def nothing(**groups: Any) -> Any:
    return groups


PATTERNS = (
    (r"/with/", nothing),
    (r"/without", nothing),
    (r"/item/(?P<name>)/", nothing),
    (r"/any/(?P<rest>.*)", nothing),
    (r"/static/.*", Resource()),
    Route(r"/post/", nothing, methods=["POST"]),
    Route(r"/both", nothing, methods=["POST"]),
    Route(r"/both/", nothing, methods=["GET"]),
    (r"//(?P<host>)/", nothing),
    (r"/a//(?P<host>)", nothing),
)
ROUTER = Router(PATTERNS)


def location(target: str, method: str = "GET") -> str:
    """Return where a request is redirected to; empty if it is not."""
    call = make_call(method.encode(), target.encode(), (), b"", "")
    reply = slash_redirect(ROUTER, call)
    if reply is None:
        return ""
    found = dict(reply.headers)["location"]
    assert (reply.status, reply.body) == (308, f"redirected to {found}\n".encode())
    return found


class LocationTests(SynchronousTestCase):
    def test_slash_is_added_or_removed(self) -> None:
        for method in ("GET", "HEAD", "POST"):
            for target, expected in (
                ("/with", "./with/"),
                ("/without/", "../without"),
                ("/item/a", "./a/"),
                ("/static", "./static/"),
            ):
                self.assertEqual(location(target, method), expected)

    def test_query_is_kept(self) -> None:
        self.assertEqual(location("/with?a=1&b=%2F?&c"), "./with/?a=1&b=%2F?&c")
        self.assertEqual(location("/without/?ä=//"), "../without?%C3%A4=//")

    def test_segment_is_percent_encoded(self) -> None:
        for target, expected in (
            ("/item/a%20b%3F%23%25", "./a%20b%3F%23%25/"),
            ("/item/%C3%A4", "./%C3%A4/"),
            ("/item/javascript:x", "./javascript:x/"),
            ("/item/%5Cevil.com", "./%5Cevil.com/"),
            ("/item/%0D%0Ax:y", "./%0D%0Ax:y/"),
        ):
            self.assertEqual(location(target), expected)

    def test_path_that_matches_nothing_is_not_redirected(self) -> None:
        for target in ("/", "/nothing/at/all", "/with//", "/item/", "/without//", "/item/a/b"):
            self.assertEqual(location(target), "", target)

    def test_path_that_clients_read_differently_is_not_redirected(self) -> None:
        """C{//evil.com/} would be another host, and dots and encoded slashes would lead to another path."""
        for target in (
            "//evil.com",
            "/a//b/",
            "/with//",
            "/item/..",
            "/item/%2e%2e",
            "/../with",
            "/item/a%2fb",
            "/item%2Fa",
            "/item/.",
        ):
            self.assertEqual(location(target), "", target)

    def test_other_method_gets_405(self) -> None:
        error = self.assertRaises(HTTPError, location, "/post")
        self.assertEqual((error.status, dict(error.headers)), (405, {"allow": "POST, OPTIONS"}))

    @example(";", "", False)
    @given(st.text(st.characters(codec="utf-8"), max_size=9), st.sampled_from(["", "/"]), st.booleans())
    def test_location_leads_to_the_path_that_matches(self, name: str, end: str, nested: bool) -> None:
        """The host stays the same, for every path."""
        target = ("/item/" if nested else "/any/") + quote(name, safe="/") + end
        try:
            found = location(target)
        except HTTPError:
            return
        if found:
            whole = urlsplit(urljoin(f"http://localhost/prefix{target}", found))
            self.assertEqual(whole.netloc, "localhost")
            path = unquote(whole.path).removeprefix("/prefix")
            self.assertEqual(path.removesuffix("/"), unquote(target).removesuffix("/"))
            ROUTER.match("GET", path)


class ServedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Client(PATTERNS, allow_origin=("http://page.example",))

    def test_redirect_is_a_308_that_is_not_kept(self) -> None:
        for method in ("GET", "HEAD", "POST"):
            response = self.client.request(method, "/with?a=1", body=b"x" if method == "POST" else b"")
            self.assertEqual((response.status, response.headers["location"]), (308, "./with/?a=1"))
            self.assertEqual(response.headers["cache-control"], "no-cache")
            self.assertEqual(response.body, b"" if method == "HEAD" else b"redirected to ./with/?a=1\n")

    def test_path_that_matches_with_another_method_gets_405(self) -> None:
        """It is not redirected to a path that would match."""
        for target, allowed in (("/both", "POST, OPTIONS"), ("/post", "POST, OPTIONS")):
            response = self.client.get(target)
            self.assertEqual((response.status, response.headers["allow"]), (405, allowed))
        response = self.client.request("OPTIONS", "/post")
        self.assertEqual((response.status, response.headers["allow"]), (204, "POST, OPTIONS"))

    def test_preflight_is_answered_and_the_redirect_is_readable(self) -> None:
        """Browsers do not follow a redirect of a preflight request."""
        origin = {"origin": "http://page.example"}
        asked = {**origin, "access-control-request-method": "POST"}
        self.assertEqual(self.client.request("OPTIONS", "/with", asked).status, 204)
        response = self.client.request("POST", "/with", origin, b"x")
        self.assertEqual(response.status, 308)
        self.assertEqual(response.headers["access-control-allow-origin"], "http://page.example")

    def test_pages_of_the_server_are_redirected_too(self) -> None:
        response = self.client.get("/-/jobs/")
        self.assertEqual((response.status, response.headers["location"]), (308, "../jobs"))

    def test_request_without_a_path_is_not_redirected(self) -> None:
        client = Client([(r"/(?P<any>)/", nothing), (r"/.*/", Resource())])
        response = client.request("OPTIONS", "*")
        self.assertEqual((response.status, response.headers.get("allow")), (204, None))

    def test_functions_may_answer_404(self) -> None:
        """Then nothing is redirected."""

        def missing() -> Any:
            raise HTTPError(404, "x")

        client = Client([(r"/a", missing), (r"/a/", nothing)])
        self.assertEqual(client.get("/a").status, 404)


class CallTests(SynchronousTestCase):
    def test_front_ends_note_encoded_slashes(self) -> None:
        for target, found in (("/a%2Fb", True), ("/a%2fb", True), ("/a/b?c=%2F", False), ("/a%20b", False)):
            self.assertEqual(make_call(b"GET", target.encode(), (), b"", "").has_encoded_slash, found)
        self.assertFalse(Call("GET", "/").has_encoded_slash)
