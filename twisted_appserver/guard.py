"""Who may ask: the names that a service answers to, and the web pages that may use it. Pure.

A service on loopback is within reach of every web page that its user opens. Two checks of a request's
head shut these out: its Host must be a name of ours, which defeats DNS rebinding, and it must not come
from a page of another origin (Fetch, section 3.1; Fetch Metadata, section 2.2), unless that is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from twisted_appserver.calls import Call
from twisted_appserver.errors import HTTPError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
PASSED = 1024  # heads that are remembered
OURS = frozenset((b"same-origin", b"none"))  # Sec-Fetch-Site of our own pages, and of the address bar


class Guard:
    """
    @param hosts: the names, without port, that a request may be addressed to, besides loopback's; C{"*"}
        for any.
    @param origins: the origins, like C{https://example.org}, whose pages may call.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = {
            name.lower().encode("idna" if not name.isascii() else "ascii") for name in (*LOOPBACK, *hosts)
        }
        self._origins = {origin.lower().rstrip("/").encode("ascii") for origin in origins}
        self._passed: set[tuple[tuple[bytes, bytes], ...]] = set()  # heads that need not be looked at again

    def check(self, call: Call) -> None:
        """
        @raise HTTPError: 421 when the request is addressed to another host, 403 when it comes from a page
            of another origin.
        """
        if call.raw_headers in self._passed:
            return
        host, origin, site = b"", b"", b""
        for name, value in call.raw_headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
        if host and b"*" not in self._hosts:
            found = HOST.fullmatch(host)
            if found is None or found[1].lower() not in self._hosts:
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
        if len(self._passed) >= PASSED:
            self._passed.clear()
        self._passed.add(call.raw_headers)
