"""Whether a service lives, and whether it can take a call: for supervisors and load balancers."""

from __future__ import annotations

from typing import Any

from twisted_appserver.errors import HTTPError


class Probes:
    """
    @param service: an L{AppService}.
    """

    def __init__(self, service: Any) -> None:
        self._service = service

    async def health(self) -> dict[str, Any]:
        """The reactor turns."""
        return {"healthy": True}

    async def ready(self) -> dict[str, Any]:
        """A call can be performed: the pool can take it, and stores work; 503 says why not."""
        await self._service.check()
        why = self._service.unready()
        if why:
            raise HTTPError(503, why)
        return {"ready": True}
