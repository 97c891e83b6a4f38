"""
The exceptions that the other packages share. Every exception of this package derives from L{AppserverError}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# The members of every problem document (RFC 9457, section 3.1).
PROBLEM_MEMBERS = ("type", "title", "status", "detail", "instance")


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
