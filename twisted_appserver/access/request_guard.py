"""Who may ask: the names that a service answers to, and the web pages that may use it. Pure.

A service on loopback is within reach of every web page that its user opens. Two checks of a request's
head shut these out: its Host must be a name of ours, which defeats DNS rebinding, and it must not come
from a page of another origin (Fetch, section 3.1; Fetch Metadata, section 2.2), unless that is named; then
the answer says so (Fetch, section 3.3). A third check, L{access.credentials}, authenticates the client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_appserver.access.origins import read_host, read_origin
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.request_target import HOST
from twisted_appserver.errors import HTTPError

LOOPBACK = (b"localhost", b"127.0.0.1", b"[::1]")
PASSED = 1024  # heads that are remembered
OURS = frozenset((b"same-origin", b"none"))  # Sec-Fetch-Site of our own pages, and of the address bar


class Guard:
    """
    @param hosts: the names, without port, that a request may be addressed to, besides loopback's; C{"*"}
        for any.
    @param origins: the origins, like C{https://example.org}, whose pages may call.
    @param proxies: L{access.proxies.Proxies} whose word is taken.
    @ivar credentials: the L{access.credentials.Credentials} that a request must have; C{None} if it need not.
    @ivar settled: whether who equals one that was let in is let in too, whenever and from wherever it comes.
    @ivar cors: whether pages of any other origin may call.
    @raise ConfigurationError: when a name or an origin is none.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = (), proxies: Any = None) -> None:
        self.proxies = proxies
        self.credentials: Any = None
        self.settled = proxies is None
        self._hosts = {*LOOPBACK, *map(read_host, hosts)}
        self._origins = set(map(read_origin, origins))
        self.cors = bool(self._origins)
        self._passed: set[Any] = set()  # heads that need not be looked at again

    def check(self, call: Call) -> str | Deferred[str]:
        """
        Check a call, after L{access.proxies.Proxies.apply} if there are proxies.

        @return: the name of the user, empty if there is none; or a Deferred that will fire with it, or fail
            with L{HTTPError} 401 if the credentials are missing or wrong.
        @raise HTTPError: 421 when the request is addressed to another host, 403 when it comes from a page
            of another origin; 405 with the right headers when a browser asks first what it may.
        """
        if call.raw_headers in self._passed:
            return ""
        fields = dict(call.raw_headers)
        self._check_head(fields)
        if call.method == "OPTIONS" and self._allows(fields) and b"access-control-request-method" in fields:
            raise HTTPError(405, "", _preflight(fields))
        return self._identify(fields.get(b"authorization", b""), call)

    def _identify(self, authorization: bytes, call: Call) -> str | Deferred[str]:
        credentials = self.credentials
        user = "" if credentials is None else credentials.known(authorization)
        if user is None:
            asked = credentials.check(authorization, call.client)
            return _settled(asked.addCallback(self._identified, authorization, call, credentials))
        return self._pass(user, call)

    def _identified(
        self, user: str, authorization: bytes, call: Call, credentials: Any
    ) -> str | Deferred[str]:
        if credentials is self.credentials:
            return self._pass(user, call)
        return self._identify(authorization, call)  # they were replaced meanwhile

    def _pass(self, user: str, call: Call) -> str:
        if not user:
            if len(self._passed) >= PASSED:
                self._passed.clear()
            self._passed.add(call.raw_headers)
        return user

    def ask(self, credentials: Any) -> None:
        """Require these L{access.credentials.Credentials} of every request from now on, and no others."""
        self.credentials, self.settled = credentials, False
        self._passed.clear()

    def _allows(self, fields: dict[bytes, bytes]) -> bool:
        """Whether it comes from a page of an origin that is named."""
        return fields.get(b"origin", b"").lower() in self._origins

    def mark(self, call: Call, reply: Reply) -> Reply:
        """The reply, with what lets a page of an origin that is named read it (Fetch, section 3.3.3)."""
        headers = [*reply.headers, ("vary", "origin")]
        fields = dict(call.raw_headers)
        if self._allows(fields):
            headers.append(("access-control-allow-origin", fields[b"origin"].decode("latin-1")))
            headers.append(("access-control-expose-headers", "x-request-id, location, retry-after"))
        return msgspec.structs.replace(reply, headers=tuple(headers))

    def _check_head(self, fields: dict[bytes, bytes]) -> None:
        host, origin = fields.get(b"host", b""), fields.get(b"origin", b"")
        site = fields.get(b"sec-fetch-site", b"")
        if host and b"*" not in self._hosts:
            found = HOST.fullmatch(host)
            if found is None or found[1].lower().removesuffix(b".") not in self._hosts:
                shown = host.decode("latin-1")
                raise HTTPError(
                    421, f"this service does not answer for {shown!r}; --allow-host names further hosts"
                )
        if (origin or site) and origin.lower() not in self._origins:
            if origin and origin.lower() not in (b"http://" + host.lower(), b"https://" + host.lower()):
                shown = origin.decode("latin-1")
                raise HTTPError(403, f"pages of {shown!r} may not call; --allow-origin names those that may")
            if site and site not in OURS:
                raise HTTPError(
                    403, "pages of other origins may not call; --allow-origin names those that may"
                )


def _settled(asked: Deferred[str]) -> str | Deferred[str]:
    """
    The result of a Deferred, if it has fired already; else the Deferred.

    @raise Exception: what it has failed with.
    """
    if not asked.called or asked.paused:
        return asked
    users: list[str] = []
    failures: list[Failure] = []
    asked.addCallbacks(users.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return users[0]


def _preflight(fields: dict[bytes, bytes]) -> tuple[tuple[str, str], ...]:
    """What a browser is told that asks before a request of another origin (Fetch, section 3.3.3)."""
    wanted = fields.get(b"access-control-request-headers", b"").decode("latin-1")
    return (
        ("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        *([("access-control-allow-headers", wanted)] if wanted else []),
        ("access-control-max-age", "600"),
    )
