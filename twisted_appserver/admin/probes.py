"""The liveness and readiness probes, for supervisors and load balancers."""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.overview import Overviews
from twisted_appserver.errors import HTTPError


class Probes:
    """
    Report if a service is alive and if it can perform calls.

    @param overviews: makes overviews of the service.
    """

    def __init__(self, overviews: Overviews) -> None:
        self._overviews = overviews

    async def health(self) -> dict[str, Any]:
        """Report that the reactor runs."""
        return {"healthy": True}

    async def ready(self) -> dict[str, Any]:
        """
        Report if a call can be performed: the executor can take it, and the stores work. If there are several
        servers, one that can perform calls is enough.

        @raise HTTPError: 503 with the reason if calls cannot be performed.
        """
        if reason := await self._overviews.unready():
            raise HTTPError(503, reason)
        return {"ready": True}
