"""Tests of L{twisted_appserver.access.request_guard}: which requests are accepted."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Call, HTTPError
from twisted_appserver.access.request_guard import MAX_LOGGED, RequestGuard

GUARD = RequestGuard(
    ["app.example", "Bücher.example"], ["https://pages.example", "HTTPS://Other.example:8443/"]
)


class GuardTestCase(SynchronousTestCase):
    def status(self, guard: RequestGuard = GUARD, **headers: str) -> int:
        """Return 200 if a request with these headers is accepted, otherwise the status of the refusal."""
        raw = tuple(
            (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()
        )
        try:
            guard.check(Call("GET", "/", raw_headers=raw))
        except HTTPError as error:
            self.assertTrue(error.detail)
            return error.status
        return 200


class LogTests(GuardTestCase):
    def test_refused_host_or_origin_is_logged_once(self) -> None:
        """A browser shows nobody why it could not read the response. Clients cannot fill the log."""
        lines: list[str] = []
        observer: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        guard = RequestGuard()
        for _ in range(3):
            self.status(guard, host="localhost:80", origin="http://127.0.0.1:80")
            self.status(guard, host="shop.example")
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("refused with 403: web pages of 'http://127.0.0.1:80' may not call", lines[0])
        self.assertIn("--allow-origin", lines[0])
        self.assertIn("refused with 421: unknown host 'shop.example'", lines[1])
        for number in range(2 * MAX_LOGGED):
            self.status(guard, host=f"{number}.example")
        self.assertEqual(len(lines), MAX_LOGGED)


class HostTests(GuardTestCase):
    def test_loopback_and_allowed_hosts_are_accepted(self) -> None:
        """The names of loopback and allowed names are accepted, with any port and in any case."""
        for host in (
            "localhost", "localhost:8080", "LocalHost", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080",
            "app.example", "APP.example:443", "xn--bcher-kva.example",
        ):  # fmt: skip
            self.assertEqual(self.status(host=host), 200, host)

    def test_other_hosts_get_421(self) -> None:
        """Any other name gets 421, even if it resembles an accepted name."""
        for host in (
            "evil.example", "localhost.evil.example", "evil-localhost", "app.example.evil.example",
            "127.0.0.2", "127.0.0.1.evil.example", "[::2]", "::1", "localhost:port", "a b",
            "localhost@evil.example", "localhost:80:80", "localhost, evil.example", "\xe4", "0x7f.1",
            "localhost:123456", "localhost/", "*", "[::1",
        ):  # fmt: skip
            self.assertEqual(self.status(host=host), 421, host)

    def test_star_accepts_every_host(self) -> None:
        """With "*", every name is accepted."""
        self.assertEqual(self.status(RequestGuard(["*"]), host="evil.example"), 200)

    def test_default_accepts_loopback_only(self) -> None:
        """By default only the names of loopback are accepted."""
        self.assertEqual(self.status(RequestGuard(), host="127.0.0.1:8080"), 200)
        self.assertEqual(self.status(RequestGuard(), host="app.example"), 421)


class OriginTests(GuardTestCase):
    def test_request_without_origin_is_accepted(self) -> None:
        """A request that is not from a web page has no Origin and is accepted."""
        self.assertEqual(self.status(host="localhost:8080"), 200)

    def test_own_pages_are_accepted(self) -> None:
        """Pages of this service are accepted."""
        for origin in ("http://localhost:8080", "https://localhost:8080"):
            self.assertEqual(self.status(host="localhost:8080", origin=origin), 200)
            self.assertEqual(
                self.status(host="LOCALHOST:8080", origin=origin, sec_fetch_site="same-origin"), 200
            )

    def test_allowed_origins_are_accepted(self) -> None:
        """Pages of an allowed origin are accepted, from another site too."""
        for origin in ("https://pages.example", "https://PAGES.example", "https://other.example:8443"):
            self.assertEqual(self.status(host="localhost", origin=origin, sec_fetch_site="cross-site"), 200)

    def test_other_origins_get_403(self) -> None:
        """Pages of any other origin get 403, including those with another port or without a name."""
        for origin in (
            "http://evil.example", "http://localhost", "http://localhost:8081", "null", "http://pages.example",
            "https://pages.example.evil.example", "https://pages.example:444", "*", "file://",
        ):  # fmt: skip
            self.assertEqual(self.status(host="localhost:8080", origin=origin), 403, origin)

    def test_rebound_host_gets_421_before_the_origin_is_checked(self) -> None:
        """A page of this address under another name (DNS rebinding) is refused because of the name."""
        self.assertEqual(self.status(host="evil.example", origin="http://evil.example"), 421)


class FetchSiteTests(GuardTestCase):
    def test_address_bar_and_own_pages_are_accepted(self) -> None:
        """The address bar and pages of this service are accepted."""
        for site in ("none", "same-origin"):
            self.assertEqual(self.status(host="localhost", sec_fetch_site=site), 200)

    def test_other_sites_get_403(self) -> None:
        """An image or script of another site gets 403, even without Origin."""
        for site in ("cross-site", "same-site", "anything"):
            self.assertEqual(self.status(host="localhost", sec_fetch_site=site), 403)
