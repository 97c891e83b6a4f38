"""A client for services built with this package, over treq."""

from __future__ import annotations

from typing import Any

import treq

from twisted_appserver.errors import AppserverError


class Problem(AppserverError):
    """
    Raised when the service answers with an error; holds its problem document (RFC 9457, section 3.1).

    @ivar status: the HTTP status code.
    @ivar title: the kind of error.
    @ivar detail: what was wrong.
    @ivar instance: the id under which the service's log knows it.
    """

    def __init__(self, status: int, title: str = "", detail: str = "", instance: str = "") -> None:
        super().__init__(f"{status} {title}: {detail}" + (f" ({instance})" if instance else ""))
        self.status, self.title, self.detail, self.instance = status, title, detail, instance


class AppClient:
    """
    Calls the functions of a service.

    @param base_url: of the service, like C{http://localhost:8080}.
    @param treq_client: a L{treq.client.HTTPClient}, or a L{treq.testing.StubTreq}; treq itself if C{None}.
    @param timeout: seconds until an answer must be there.
    @param token: of C{--token-file}.
    """

    def __init__(
        self, base_url: str, treq_client: Any = None, timeout: float = 60.0, token: str = ""
    ) -> None:
        self._base, self._treq, self._timeout = base_url.rstrip("/"), treq_client or treq, timeout
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    async def call(self, path: str, /, **variables: Any) -> dict[str, Any]:
        """
        Call a function: with GET, or with its variables as JSON in a POST.

        @param path: of the function, with a slash at its beginning.
        @return: what the function returned.
        @raise Problem: when the service answers with an error, or with what is no JSON object.
        """
        url = self._base + path
        if variables:
            response = await self._treq.post(
                url, json=variables, headers=self._headers, timeout=self._timeout
            )
        else:
            response = await self._treq.get(url, headers=self._headers, timeout=self._timeout)
        try:
            document = await response.json()
        except ValueError:
            document = None
        if response.code < 400 and isinstance(document, dict):
            return document
        if not isinstance(document, dict):
            document = {"title": "the answer is no JSON object"}
        shown = {key: str(document.get(key, "")) for key in ("title", "detail", "instance")}
        raise Problem(response.code, **shown)
