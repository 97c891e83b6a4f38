"""Headers by name, without regard to case."""

from __future__ import annotations

from typing import Any


class HeaderDict(dict[str, str]):
    """
    Headers by their names in lower case. C{[]}, C{in}, C{get} and C{pop} also find them by names in other
    cases, because HTTP ignores the case of names (RFC 9110, section 5.1).
    """

    __slots__ = ()

    def _stored(self, name: Any) -> Any:
        """Return the name under which a header is stored, if it is there."""
        return name if not isinstance(name, str) or super().__contains__(name) else name.lower()

    def __missing__(self, name: str) -> str:
        if name not in self:
            raise KeyError(name)
        return self[self._stored(name)]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self._stored(name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header; C{default} if there is none with this name."""
        return super().get(self._stored(name), default)

    def pop(self, name: str, *default: Any) -> Any:
        """
        Remove a header and return it. If there is no header with this name, return C{default} if it is given.
        """
        return super().pop(self._stored(name), *default)
