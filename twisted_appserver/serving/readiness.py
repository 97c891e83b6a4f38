"""What a service needs besides its executor to be ready, such as a store."""

from __future__ import annotations

from zope.interface import Interface


class INeeded(Interface):
    """
    Without it a service is not ready. An object that provides this and has methods in the table is found
    there by the service.
    """

    def unready() -> str:
        """Why calls cannot be performed now, as far as is known; empty if they can. Does not wait."""

    async def check() -> None:
        """Find out what L{unready} returns, unless it is known; takes a few seconds at most."""
