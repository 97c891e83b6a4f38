"""What both clients share: addresses, keys, answers, and when a request is repeated. Does no I/O.

Needs the standard library only.
"""

from __future__ import annotations

import errno
import json
import random
import re
from base64 import b64encode
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from itertools import count
from time import time
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit
from uuid import uuid4

POLL = 25.0  # seconds of one long poll
ANSWER = 30.0  # seconds that an answer may take longer than that
WEEK = 7 * 86400.0  # seconds; the longest lease that a server grants
LONGEST_NAME, LONGEST_KEY = 200, 500  # characters
MARK = "\1"  # begins every key that a client makes, and no key that a user chooses
READING = frozenset(("qsize", "stats", "peek", "join"))  # requests without an effect; others are sent by POST
AGAIN = frozenset((408, 425, 429))  # statuses that another attempt may change, besides all from 500 on
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0  # seconds between two attempts


class ServerError(Exception):
    """
    Raised when the server refuses a request.

    @ivar status: the HTTP status code.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status


class Address(NamedTuple):
    """
    Where a server is.

    @ivar netloc: the host and port as the C{Host} header has them.
    @ivar path: the prefix of all requests, without a slash at its end.
    @ivar authorization: the value of that header; empty for none.
    """

    secure: bool
    host: str
    port: int
    netloc: str
    path: str
    authorization: str

    @property
    def url(self) -> str:
        """The same as a URL, without name and password."""
        return f"http{'s' if self.secure else ''}://{self.netloc}{self.path}"


def read_address(url: str, token: str) -> Address:
    """
    @param url: like C{http://localhost:8082}, perhaps with C{name:password@} before the host.
    @raise ValueError: when one of the two cannot be used. The message shows neither token nor password.
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
    """The token or else the name and password of the URL, as a header's value; empty if there is neither."""
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


def checked_name(name: str | None, kind: str = "queue") -> str:
    """
    The name of a queue; a new one if it is C{None}. C{/-/} is where the server's own pages are.

    @raise ValueError: when no queue can have it.
    """
    if name is None:
        return f"{kind}-{uuid4().hex}"
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a queue's name must be 1 to {LONGEST_NAME} printable characters, not {name!r}")
    if name in ("-", ".", "..") or "/" in name:
        raise ValueError(f"a queue's name must not be '-', '.' or '..' or have a slash, like {name!r}")
    return name


def checked_key(key: str) -> str:
    """
    A key that a user chose for a put.

    @raise ValueError: when the server would refuse it, or a client could make the same one.
    """
    if not 0 < len(key) <= LONGEST_KEY:
        raise ValueError(f"a key must be 1 to {LONGEST_KEY} characters, not {len(key)}: {key[:80]!r}")
    if "\0" in key or key.startswith(MARK) or re.search("[\ud800-\udfff]", key):
        raise ValueError(f"a key must be Unicode text without NUL, not beginning with U+0001, not {key!r}")
    return key


def checked_seconds(name: str, value: float, most: float) -> float:
    """
    @raise ValueError: when a number of seconds is not above 0, or higher than C{most}.
    """
    if not 0 < value <= most:
        raise ValueError(f"{name} must be more than 0 and at most {most:.0f} seconds, not {value!r}")
    return value


class Keys:
    """
    Keys for the requests of one client. No two are the same, in any process. Keys of one lane end with a
    colon and a number, and are for requests that follow one another: the server remembers the last one only.
    """

    def __init__(self) -> None:
        self._client, self._numbers = uuid4().hex, count(1)

    def next(self, lane: str = "") -> str:
        number = next(self._numbers)
        return f"{MARK}{self._client}.{lane}:{number}" if lane else f"{MARK}{self._client}.{number}"


class Retry:
    """
    Decides whether a request that failed is made again, and when.

    @param patience: returns seconds from the first failure on; it may change meanwhile.
    @ivar sent: whether an attempt that failed may have reached the server.
    @ivar attempts: how many have failed.
    """

    def __init__(self, patience: Callable[[], float], clock: Callable[[], float]) -> None:
        self._patience, self._clock = patience, clock
        self.sent, self.attempts = False, 0
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    def failed(self, sent: bool, after: float = 0.0) -> float | None:
        """
        An attempt has failed.

        @param sent: whether it may have reached the server.
        @param after: seconds for which the server asks to wait.
        @return: seconds until the next attempt; C{None} if there is none.
        """
        self.sent |= sent
        self.attempts += 1
        now = self._clock()
        self._since = now if self._since is None else self._since
        pause = max(self._pause * random.uniform(0.5, 1.0), after)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return pause if now - self._since + pause <= self._patience() else None


def may_change(status: int) -> bool:
    """Whether another attempt may get another answer than this status."""
    return status >= 500 or status in AGAIN


def retry_after(value: str) -> float:
    """The seconds in a C{Retry-After} header (RFC 9110, section 10.2.3); 0 if there are none."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (TypeError, ValueError):
        return 0.0


def read(status: int, answer: bytes) -> dict[str, Any]:
    """
    The JSON object in an answer.

    @raise ServerError: when it is none, or an error.
    """
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServerError(status, f"the answer is no JSON object: {answer[:100]!r}")
    if status >= 400:
        raise ServerError(status, str(document.get("detail", "")))
    return document


def trouble(status: int, answer: bytes) -> OSError:
    """The error for an answer that may be another one a little later."""
    number = errno.ENOSPC if status == 507 else errno.EAGAIN
    return OSError(number, f"the server answers {status}: {answer[:200].decode('utf-8', 'replace')}")


def backoff(delivery: int) -> float:
    """Seconds until a task that failed at its n-th delivery is tried again: 1, 2, 4, ... 300."""
    return min(300.0, 2.0 ** min(max(delivery, 1) - 1, 9))


def delay_after(error: BaseException, delay: float | None, delivery: int) -> float:
    """
    Seconds for which a task rests whose block raised.

    @param delay: the user's choice; C{None} for L{backoff} after an error. Ctrl-C, C{break} and the like are
        no fault of the task.
    """
    if delay is not None:
        return max(delay, 0.0)
    return backoff(delivery) if isinstance(error, Exception) else 0.0
