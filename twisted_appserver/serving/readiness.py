"""The interface of a further part that must work before a service is ready, such as a store."""

from __future__ import annotations

from zope.interface import Interface


class IDependency(Interface):
    """
    Something without which a service is not ready.

    The service finds it through its methods: C{url_patterns} contains at least one of them.
    """

    def unready() -> str:
        """Return why calls cannot be performed now, or an empty string. Does not wait."""

    async def check() -> None:
        """Update what L{unready} returns. Takes a few seconds at most."""
