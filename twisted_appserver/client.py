"""A client for services built with this package, over treq."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urljoin

import msgspec
import treq
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from twisted_appserver.core.call import CURRENT
from twisted_appserver.errors import AppserverError

AHEAD = 16  # lines of a stream that are read before they are asked for


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
    @param treq_client: a C{treq.client.HTTPClient}, or a C{treq.testing.StubTreq}; treq itself if C{None}.
    @param timeout: seconds until an answer must be there.
    @param token: of C{--token-file}.
    """

    def __init__(
        self, base_url: str, treq_client: Any = None, timeout: float = 60.0, token: str = ""
    ) -> None:
        self._base, self._treq, self._timeout = base_url.rstrip("/"), treq_client or treq, timeout
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    async def call(self, path: str, /, **variables: Any) -> Any:
        """
        Call a function: with GET, or with its variables as JSON in a POST.

        @param path: of the function, with a slash at its beginning.
        @return: the dict or list that the function returned.
        @raise Problem: when the service answers with an error, or with anything but a JSON object or list.
        """
        return await _document(await self._ask(path, variables))

    async def stream(self, path: str, /, **variables: Any) -> AsyncIterator[Any]:
        """
        Call a function that is a generator: its items, each as soon as it is made. The server makes no more
        of them than are asked for here, but for some.

        @raise Problem: as L{call}; also when the answer breaks off, or a line of it is no JSON.
        """
        response = await self._ask(path, variables, unbuffered=True)
        if response.code >= 400:
            await _document(response)
        lines = _Lines()
        response.deliverBody(lines)
        try:
            while (line := await lines.next()) is not None:
                try:
                    item = msgspec.json.decode(line)
                except ValueError as error:
                    raise Problem(response.code, "the answer is no stream of JSON", str(error)) from None
                yield item
        finally:
            lines.stop()

    async def job(self, path: str, /, **variables: Any) -> RemoteJob:
        """
        Have a function called as a job, which goes on when nobody waits (RFC 7240, section 4.1).

        @raise Problem: as L{call}.
        """
        response = await self._ask(path, variables, {"prefer": "respond-async"})
        await _document(response)
        if response.code != 202:
            raise Problem(response.code, "the service has no jobs")
        (place,) = response.headers.getRawHeaders("location")
        return RemoteJob(self, urljoin(self._base + path, place).removeprefix(self._base))

    async def _ask(
        self, path: str, variables: dict[str, Any], headers: dict[str, str] | None = None, **options: Any
    ) -> Any:
        call = CURRENT.get()
        passed = call.trace if call is not None else {}  # so that what we ask for is seen as a part of it
        options |= {"headers": {**passed, **self._headers, **(headers or {})}, "timeout": self._timeout}
        if variables:
            return await self._treq.post(self._base + path, json=variables, **options)
        return await self._treq.get(self._base + path, **options)

    async def _delete(self, path: str) -> Any:
        return await _document(
            await self._treq.delete(self._base + path, headers=self._headers, timeout=self._timeout)
        )


async def _document(response: Any) -> Any:
    try:
        document = await response.json()
    except ValueError:
        document = None
    if response.code < 400 and isinstance(document, dict | list):
        return document
    if not isinstance(document, dict):
        document = {"title": "the response is not a JSON object or list"}
    raise Problem(response.code, **_words(document))


def _words(document: dict[str, Any]) -> dict[str, str]:
    return {key: str(document.get(key, "")) for key in ("title", "detail", "instance")}


class RemoteJob:
    """
    A call that goes on by itself.

    @ivar path: where the service tells of it.
    """

    def __init__(self, client: AppClient, path: str) -> None:
        self._client, self.path = client, path

    async def look(self) -> dict[str, Any]:
        """
        What is known of it: C{state} (waiting, running, done, failed or cancelled), C{items} and C{progress},
        how many a generator has yielded and the last of them, and in the end C{result} or C{error}.

        @raise Problem: when it is not known any more.
        """
        found: dict[str, Any] = await self._client.call(self.path)
        return found

    async def wait(
        self, reactor: Any, progress: Callable[[dict[str, Any]], object] = bool, every: float = 0.5
    ) -> Any:
        """
        Wait until it is over.

        @param reactor: an C{IReactorTime}.
        @param progress: told what L{look} says, C{every} so many seconds.
        @return: its result.
        @raise Problem: when it failed or was cancelled.
        """
        while True:
            seen = await self.look()
            progress(seen)
            if seen["state"] == "done":
                return seen.get("result")
            if seen["state"] in ("failed", "cancelled"):
                raise Problem(seen["error"]["status"], **_words(seen["error"]))
            await deferLater(reactor, every)

    async def cancel(self) -> dict[str, Any]:
        """End it, or have the service forget it if it is over."""
        found: dict[str, Any] = await self._client._delete(self.path)
        return found


class _Lines(Protocol):
    """The lines of a body, one when it is asked for."""

    transport: Any

    def __init__(self) -> None:
        self._unread = b""
        self._lines: deque[bytes] = deque()
        self._failure: Failure | None = None
        self._over = False
        self._awaited: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        self._lines.extend(lines)
        if len(self._lines) > AHEAD:
            self.transport.pauseProducing()
        self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        self._failure = None if reason.check(ResponseDone) else reason
        if self._unread and self._failure is None:  # the last line need not have an end
            self._lines.append(self._unread)
        self._tell()

    def _tell(self) -> None:
        if self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            awaited.callback(None)

    async def next(self) -> bytes | None:
        """The next line; C{None} at the end."""
        while not self._lines:
            if self._failure is not None:
                raise Problem(200, "the answer broke off", self._failure.getErrorMessage())
            if self._over:
                return None
            self.transport.resumeProducing()
            self._awaited = Deferred()
            await self._awaited
        return self._lines.popleft()

    def stop(self) -> None:
        """Read no more."""
        if not self._over:
            self.transport.stopProducing()
