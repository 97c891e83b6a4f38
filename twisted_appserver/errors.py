"""
The exceptions that the other packages share. Every exception of this package derives from L{AppserverError}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any, Literal

# The members of every problem document (RFC 9457, section 3.1).
PROBLEM_MEMBERS = ("type", "title", "status", "detail", "instance")
DISCONNECTED = 499  # the status of a call whose client has disconnected; nginx logs it too
LATEST = 371 * 86400.0  # seconds until a task is tried again; queues refuse more


class AppserverError(Exception):
    """Raised when something fails in this package; the base class of all its exceptions."""


class HTTPError(AppserverError):
    """
    Raised when a request must be answered with an error status. Functions may raise it too.

    @param status: the HTTP status code, 400 to 599.
    @param detail: what was wrong; the client receives this text.
    @param headers: further headers of the response, as a mapping or as pairs. A name is C{str} or C{bytes}. A
        value is C{str}, C{bytes} or C{int}, or a list of these for several headers with the same name.
    @param extra: further members of the problem document (RFC 9457, section 3.2), by name. A value is
        anything that a function may return as part of its result.
    @raise TypeError: when C{extra} is not a mapping, or a name is not text.
    @raise ValueError: when C{extra} contains a member that every problem document has.
    """

    extra: Mapping[str, Any] = {}

    def __init__(
        self,
        status: int,
        detail: str | None = "",
        headers: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail)
        given: Any = headers
        pairs = given.items() if hasattr(given, "items") else given or ()
        self.status, self.detail, self.headers = status, detail or "", tuple(pairs)
        if extra:
            self.extra = _checked_members(extra)


def _checked_members(extra: Any) -> dict[str, Any]:
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise TypeError(f"extra must be a mapping with names of members as keys, not {extra!r}")
    for name in PROBLEM_MEMBERS:
        if name in extra:
            raise ValueError(f"extra must not contain {name!r}: the server sets this member itself")
    return dict(extra)


def how_to_install(extra: str) -> str:
    """
    Return the advice for a message about a package that is missing.

    @param extra: the extra of this package that installs it.
    """
    return f"in a clone of twisted_appserver, run: pip install '.[{extra}]'"


def require_package(package: str, what: str, extra: str) -> None:
    """
    Check that an optional package is installed. It is not imported.

    @param what: the feature that needs the package.
    @param extra: the extra of this package that installs it.
    @raise ConfigurationError: when it is not installed.
    """
    if find_spec(package) is None:
        raise ConfigurationError(f"{what} needs the extra {extra}; {how_to_install(extra)}")


class ClientDisconnected(HTTPError):
    """
    Raised when a function reads the body of a request whose client has disconnected before the end of it.

    The status 499 is for logs and figures: nobody receives the reply.
    """

    def __init__(self, detail: str = "the client has disconnected before the end of the body") -> None:
        super().__init__(DISCONNECTED, detail)


class PreflightError(HTTPError):
    """
    Raised when a request is a CORS preflight request, which no function performs.

    @param headers: the headers of the answer, apart from the methods of the path.
    """

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        super().__init__(405, "", headers)


class PatternError(AppserverError):
    """Raised when an entry of C{url_patterns} cannot be used. The message names the entry and the reason."""


class ConfigurationError(AppserverError):
    """Raised when an application or an option cannot be used. The message is one line, with advice."""


class OptionError(ConfigurationError):
    """Raised when the value of an option is malformed, so that it cannot be used on any machine."""


class JobError(AppserverError):
    """Raised when C{jobs.put} cannot make a job of a function and its variables, or cannot store the job."""


class RetryLater(AppserverError):
    """
    Raised when the function of a background task cannot do the task now. It is tried again later.

    The attempt is recorded as failed, and counts like any other: a task that is put off at every attempt is
    buried in the end.

    @param seconds: until the next attempt; at most 371 days.
    @param reason: why; recorded with the attempt.
    @ivar task_retry: the seconds.
    @raise ValueError: when C{seconds} is negative, too large or not a number.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        if not isinstance(seconds, int | float) or not 0 <= seconds <= LATEST:
            raise ValueError(f"RetryLater requires 0 to {LATEST:.0f} seconds, not {seconds!r}")
        super().__init__(reason or f"in {seconds:g} s")
        self.task_retry = float(seconds)


class GiveUp(AppserverError):
    """
    Raised when the function of a background task can never do the task. It is not tried again.

    @param reason: why; recorded with the attempt.
    @ivar task_retry: false.
    """

    task_retry: Literal[False] = False

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
