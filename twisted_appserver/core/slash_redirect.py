"""Redirects a request whose path would match with, or without, a trailing slash. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote

from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.router import Router
from twisted_appserver.errors import HTTPError

# Characters of a segment that need no percent-encoding (RFC 3986, section 3.3). The semicolon is encoded
# nevertheless: some clients, such as Python's urljoin, drop it at the end of a path (RFC 2396, section 3.3).
SAFE = ":@!$&'()*+,=~-._"
NOT_ASCII = re.compile(r"[^\0-\x7f]")
UNSAFE = {"", ".", ".."}  # segments that some clients remove from a path


def slash_redirect(router: Router, call: Call) -> Reply | None:
    """
    Return a redirect (308) to the same path with or without a trailing slash, if only that path matches.

    The location is relative to the last segment of the path. So it keeps the scheme, the host, and any prefix
    of the path that a proxy or another Site has removed. It cannot lead to another host.

    @return: C{None} if the other path does not match either.
    @raise HTTPError: 405 when the other path matches, but not with this method.
    """
    above, _, last = call.path.removesuffix("/").rpartition("/")
    superfluous = call.path.endswith("/")
    # Clients would read an encoded slash, dots or empty segments in another way than the server.
    segments = [*above.split("/")[1:], last]
    if call.has_encoded_slash or not call.path.startswith("/") or UNSAFE.intersection(segments):
        return None
    try:
        router.match(call.method, f"{above}/{last}" + ("" if superfluous else "/"))
    except HTTPError as error:
        if error.status == 405:
            raise
        return None
    location = f"../{quote(last, SAFE)}" if superfluous else f"./{quote(last, SAFE)}/"
    if call.query:
        location += "?" + NOT_ASCII.sub(lambda found: f"%{ord(found[0]):02X}", call.query)
    body = f"redirected to {location}\n".encode()  # for people: curl shows nothing else without -i
    # Browsers keep a 308 without this for ever, and would redirect in circles when the pattern is changed.
    headers = (("content-type", "text/plain"), ("location", location), ("cache-control", "no-cache"))
    return Reply(body, 308, headers, "")


def allowed_methods(router: Router, call: Call) -> str:
    """
    Return the methods of a path, or of the path to which it is redirected, as in Allow.

    @return: empty if no pattern matches, or if a mounted resource decides.
    """
    try:
        try:
            router.match("", call.path)
        except HTTPError as error:
            if error.status != 404:
                raise
            slash_redirect(router, replace(call, method=""))
    except HTTPError as error:  # the empty name is not a method of a function
        return str(dict(error.headers).get("allow", ""))
    return ""
