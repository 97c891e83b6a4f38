"""
The exceptions that the other packages share. Every exception of this package derives from L{AppserverError}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class AppserverError(Exception):
    """Raised when something fails in this package; the base class of all its exceptions."""


class HTTPError(AppserverError):
    """
    Raised when a request must be answered with an error status. Functions may raise it too.

    @param status: the HTTP status code, 400 to 599.
    @param detail: what was wrong; the client receives this text.
    @param headers: further headers of the response, as a mapping or as pairs. A name is C{str} or C{bytes}. A
        value is C{str}, C{bytes} or C{int}, or a list of these for several headers with the same name.
    """

    def __init__(
        self,
        status: int,
        detail: str | None = "",
        headers: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None = (),
    ) -> None:
        super().__init__(status, detail)
        given: Any = headers
        pairs = given.items() if hasattr(given, "items") else given or ()
        self.status, self.detail, self.headers = status, detail or "", tuple(pairs)


def how_to_install(extra: str) -> str:
    """
    Return the advice for a message about a package that is missing.

    @param extra: the extra of this package that installs it.
    """
    return f"in a clone of twisted_appserver, run: pip install '.[{extra}]'"


class PatternError(AppserverError):
    """Raised when an entry of C{url_patterns} cannot be used. The message names the entry and the reason."""


class ConfigurationError(AppserverError):
    """Raised when an application or an option cannot be used. The message is one line and says what to do."""
