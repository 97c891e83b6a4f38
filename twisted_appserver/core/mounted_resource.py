"""Twisted resources in a table: C{(r"/static/.*", File("static"))}. Pure: Twisted is not imported here."""

from __future__ import annotations

from typing import Any, NoReturn

from twisted_appserver.core.call import Call
from twisted_appserver.core.pattern_compiler import compile_pattern

EXECUTOR = "resources"  # the name of the executor that renders resources
TAIL = ".*"


class _AllMethods(frozenset[str]):
    """Contains every method; iterates over the common ones."""

    def __contains__(self, method: object) -> bool:
        return True


ALL_METHODS = _AllMethods(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))


def is_resource(value: Any) -> bool:
    """
    Return whether a value provides C{twisted.web.resource.IResource}.

    This looks for two of the interface's methods, so that a worker process need not import Twisted.
    """
    methods = (getattr(value, "render", None), getattr(value, "getChildWithDefault", None))
    return not isinstance(value, type) and all(map(callable, methods))


class MountedResource:
    """
    Stands for a resource in a table.

    @param resource: the resource.
    @param regex: the whole pattern of its entry. The text that a final C{.*} matches names the children of
        the resource.
    """

    def __init__(self, resource: Any, regex: str) -> None:
        self.resource = resource
        self.__module__ = type(resource).__module__
        open_ended = regex.endswith(TAIL) and not regex.endswith("\\" + TAIL)
        self._pattern = compile_pattern(f"{regex.removesuffix(TAIL)}({TAIL})") if open_ended else None

    def __call__(self, call: Call, /, **groups: str) -> NoReturn:
        raise TypeError("a Twisted resource can only be rendered by the server's reactor")

    def split(self, path: str) -> tuple[list[str], list[str]]:
        """
        Divide a path where the resource is mounted.

        @return: the segments above the resource, and those below it: C{prepath} and C{postpath} of a request.
        """
        found = self._pattern.fullmatch(path) if self._pattern is not None else None
        rest = found.groups()[-1] if found is not None else ""
        above = path[: len(path) - len(rest)]
        if rest and not rest.startswith("/"):
            above = above[: above.rfind("/") + 1]
        below = path[len(above) :].removeprefix("/") if above.endswith("/") or rest else None
        segments = above.strip("/").split("/") if above.strip("/") else []
        return segments, [] if below is None else below.split("/")
