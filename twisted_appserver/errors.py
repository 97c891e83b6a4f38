"""The exceptions of this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class AppserverError(Exception):
    """The base of every exception of this package."""


class HTTPError(AppserverError):
    """
    Raised when a request is to be answered with an error status on purpose.

    @param status: the HTTP status code, 400 to 599.
    @param detail: what was wrong, for the client to read.
    @param headers: further headers of the response: a mapping or pairs. A name is C{str} or C{bytes}; a value
        is C{str}, C{bytes} or C{int}, or a list of these for several headers of the same name.
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


class PatternError(AppserverError):
    """Raised when an entry of url_patterns cannot be used; says which and why."""


class ConfigurationError(AppserverError):
    """Raised when an application or an option cannot be used; one line that says what to do."""
