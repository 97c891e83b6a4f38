"""
Chooses the operations of a document: each function with each of its methods and paths. For other functions,
it records the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import unquote

from twisted_appserver.core.mounted_resource import EXECUTOR
from twisted_appserver.core.path_templates import Template, UndescribableError, path_templates
from twisted_appserver.errors import HTTPError

# The names of operations in a path item. OpenAPI has QUERY from 3.2 on; in 3.1, it is an extension.
METHODS = {
    name.upper(): name for name in ("get", "put", "post", "delete", "options", "head", "patch", "trace")
}
METHODS["QUERY"] = "x-query"
VARIABLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class PlannedOperation:
    """
    An operation of the document.

    @ivar entry: an entry of a L{Router}.
    @ivar path: the path in the document. It may have the names of an earlier entry: in OpenAPI, entries whose
        paths differ only in their names share one path.
    @ivar template: the path with the names of the entry itself.
    @ivar groups: the regular expressions of these names.
    """

    entry: Any
    method: str
    path: str
    template: str
    groups: dict[str, str]

    @property
    def names(self) -> dict[str, str]:
        """The names in the path, by the names of the groups."""
        return dict(zip(VARIABLE.findall(self.template), VARIABLE.findall(self.path), strict=True))


class OperationPlan:
    """
    Choose the operations of a table.

    @param entries: the entries of a L{Router}.
    @ivar operations: what OpenAPI can describe.
    @ivar missing: for each entry and reason, the methods that it cannot describe.
    """

    def __init__(self, entries: Any) -> None:
        self.operations: list[PlannedOperation] = []
        self.missing: dict[tuple[int, str], list[str]] = {}
        self._entries = list(entries)
        self._paths: dict[str, str] = {}  # the first path of each shape
        self._taken: dict[tuple[str, str], Any] = {}  # entries by path and method
        for position, entry in enumerate(self._entries):
            self._add(position, entry)

    def omit(self, entry: Any, method: str, reason: str) -> None:
        """Record why an operation cannot be described."""
        self.missing.setdefault((self._entries.index(entry), reason), []).append(method)

    def _add(self, position: int, entry: Any) -> None:
        methods = sorted(entry.methods - ({"HEAD"} if "GET" in entry.methods else set()))
        try:
            if entry.handler.executor == EXECUTOR:
                raise UndescribableError("it is a Twisted resource, not a function")
            templates = path_templates(entry.regex)
        except UndescribableError as error:
            self.missing[position, str(error)] = methods
            return
        for method in methods:
            reasons = [self._place(entry, method, template) for template in templates]
            if all(reasons):
                self.missing.setdefault((position, reasons[0]), []).append(method)

    def _place(self, entry: Any, method: str, template: Template) -> str:
        """Add an operation. Returns the reason if that is impossible, otherwise an empty string."""
        own, groups = template
        path = self._paths.setdefault(VARIABLE.sub("{}", own), _with_ascii_names(own))
        if method not in METHODS:
            return f"OpenAPI 3.1 has no {method} operations"
        earlier = self._taken.get((path, method))
        if earlier is not None:
            return f"OpenAPI cannot distinguish its path from the path of {earlier.place}, which comes first"
        if not groups and (earlier := _called_first(entry, method, own)) is not None:
            return f"it is never called: {earlier} comes first and matches its path"
        self._taken[path, method] = entry
        self.operations.append(PlannedOperation(entry, method, path, own, groups))
        return ""

    def not_described(self) -> list[dict[str, Any]]:
        """Return the functions that the document lacks, in the order of the table."""
        return [
            {
                "function": self._entries[position].handler.name,
                "pattern": self._entries[position].regex,
                "methods": methods,
                "reason": reason,
            }
            for (position, reason), methods in sorted(self.missing.items())
        ]

    def notes(self) -> Iterator[str]:
        """Yield a line for each function that the document lacks altogether, for the log."""
        described = {id(operation.entry) for operation in self.operations}
        for (position, reason), _ in sorted(self.missing.items()):
            entry = self._entries[position]
            if id(entry) not in described and entry.handler.executor != EXECUTOR:
                yield f"{entry.place}: not in openapi.json: {reason}"


def _with_ascii_names(path: str) -> str:
    """Return a path whose names every generator reads. They are not part of requests."""
    numbers = count(1)
    return VARIABLE.sub(
        lambda found: found[0] if found[1].isascii() else f"{{variable{next(numbers)}}}", path
    )


def _called_first(entry: Any, method: str, path: str) -> str | None:
    """Return the place of the earlier entry that is called for a fixed path."""
    router = entry.handler.router
    try:
        handler, _ = router.match(method, unquote(path))
    except HTTPError:
        return None
    return None if handler is entry.handler else str(router.entries[handler.index].place)
