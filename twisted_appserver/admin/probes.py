"""The liveness and readiness probes, for supervisors and load balancers."""

from __future__ import annotations

from typing import Any

from twisted_appserver.errors import HTTPError


class Probes:
    """
    Report if a service is alive and if it can perform calls.

    @param service: an L{AppService}.
    """

    def __init__(self, service: Any) -> None:
        self._service = service

    async def health(self) -> dict[str, Any]:
        """Report that the reactor runs."""
        return {"healthy": True}

    async def ready(self) -> dict[str, Any]:
        """
        Report if a call can be performed: the executor can take it, and the stores work.

        @raise HTTPError: 503 with the reason if calls cannot be performed.
        """
        await self._service.check()
        reason = self._service.unready()
        if reason:
            raise HTTPError(503, reason)
        return {"ready": True}
