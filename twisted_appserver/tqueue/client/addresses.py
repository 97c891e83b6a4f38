"""The address of a server, and how a client authenticates to it. Needs the standard library only."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

DEFAULT_URL = "http://127.0.0.1:8082"  # a TQueueSrv without options


def default_url() -> str:
    """Return the URL in the environment variable C{TQUEUE_URL}, or else the default one on this machine."""
    return os.environ.get("TQUEUE_URL") or DEFAULT_URL


class Address(NamedTuple):
    """
    Where a server is.

    @ivar secure: whether to use TLS.
    @ivar netloc: the host and port, as the C{Host} header contains them.
    @ivar path: the prefix of all requests, without a trailing slash.
    @ivar authorization: the value of the C{Authorization} header; empty for none.
    """

    secure: bool
    host: str
    port: int
    netloc: str
    path: str
    authorization: str

    @property
    def origin(self) -> str:
        """The URL without path, name and password."""
        return f"http{'s' if self.secure else ''}://{self.netloc}"

    @property
    def url(self) -> str:
        """The URL without name and password, for messages."""
        return self.origin + self.path


def read_address(url: str, token: str = "") -> Address:
    """
    Parse the URL of a server.

    @param url: like C{http://localhost:8082}, optionally with C{name:password@} before the host.
    @param token: a bearer token (RFC 6750); empty for none. It takes precedence over name and password.
    @raise ValueError: when the URL or the token cannot be used. The message shows neither token nor password.
    """
    wrong = f"the url must be like http://localhost:8082, not {_without_password(url)!r}"
    if not isinstance(url, str) or re.search(r"[\s\x00-\x20\x7f?#]", url):
        raise ValueError(wrong)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        netloc = parts.netloc.rpartition("@")[2].encode("idna" if not url.isascii() else "ascii").decode()
        path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(wrong)
    secure = parts.scheme == "https"
    return Address(secure, host, port or (443 if secure else 80), netloc, path, _authorization(parts, token))


def _without_password(url: Any) -> Any:
    return re.sub(r"//.*@", "//...@", url, flags=re.DOTALL) if isinstance(url, str) else url


def _authorization(parts: SplitResult, token: str) -> str:
    """Return the header's value for the token, or else for the URL's name and password; empty for neither."""
    if not isinstance(token, str):
        raise ValueError(f"the token must be text, not {type(token).__name__}")
    if wrong := re.search(r"[^!-~]", token):
        raise ValueError(
            f"the token's character {wrong.start() + 1} of {len(token)} cannot be sent in a header: "
            "a token is visible ASCII without spaces or line ends"
        )
    if token:
        return f"Bearer {token}"
    if parts.username is None:
        return ""
    words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(words.encode("utf-8", "surrogatepass")).decode()
