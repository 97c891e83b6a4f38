"""A client for services that are built with this package. It uses treq."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
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
from twisted_appserver.core.multipart_form import has_files, write_multipart
from twisted_appserver.errors import PROBLEM_MEMBERS, AppserverError
from twisted_appserver.tqueue.client.trace import current_trace

READ_AHEAD = 16  # lines of a stream that are kept before the caller asks for them


class Problem(AppserverError):
    """
    Raised when the service answers with an error. It contains the problem document (RFC 9457, section 3.1).

    @ivar status: the HTTP status code.
    @ivar title: the kind of error.
    @ivar detail: what was wrong.
    @ivar instance: the request id, which the log of the service contains too.
    @ivar extra: further members of the problem document.
    """

    def __init__(
        self,
        status: int,
        title: str = "",
        detail: str = "",
        instance: str = "",
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}" + (f" ({instance})" if instance else ""))
        self.status, self.title, self.detail, self.instance = status, title, detail, instance
        self.extra = dict(extra or {})


class AppClient:
    """
    Call the functions of a service.

    @param base_url: the URL of the service, such as C{http://localhost:8080}.
    @param treq_client: a C{treq.client.HTTPClient} or a C{treq.testing.StubTreq}; if C{None}, treq itself.
    @param timeout: the time limit for a response, in seconds.
    @param token: the token in the service's C{--token-file}; empty if it requires none.
    """

    def __init__(
        self, base_url: str, treq_client: Any = None, timeout: float = 60.0, token: str = ""
    ) -> None:
        self._base, self._treq, self._timeout = base_url.rstrip("/"), treq_client or treq, timeout
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    async def call(self, path: str, /, **variables: Any) -> Any:
        """
        Call a function: with GET, or with POST if there are variables, which are sent as JSON. If an
        L{Upload} is among the variables, they are sent as a form.

        @param path: the path of the function, which begins with a slash.
        @return: the dict or list that the function returned.
        @raise Problem: when the service answers with an error, or with something other than a JSON object or
            list.
        """
        return await _document(await self._request(path, variables))

    async def stream(self, path: str, /, **variables: Any) -> AsyncIterator[Any]:
        """
        Call a generator function, and yield its items as soon as they arrive. The server produces only a few
        items more than the caller has taken.

        @raise Problem: as L{call}; also when the response is incomplete, or a line of it is not JSON.
        """
        response = await self._request(path, variables, unbuffered=True)
        if response.code >= 400:
            await _document(response)
        lines = _Lines()
        response.deliverBody(lines)
        try:
            while (line := await lines.next()) is not None:
                try:
                    item = msgspec.json.decode(line)
                except ValueError as error:
                    raise Problem(response.code, "the response is not a stream of JSON", str(error)) from None
                yield item
        finally:
            lines.stop()

    async def job(self, path: str, /, **variables: Any) -> RemoteJob:
        """
        Call a function in the background (RFC 7240, section 4.1).

        @return: the job. The call continues even if no program waits for it.

        @raise Problem: as L{call}.
        """
        response = await self._request(path, variables, {"prefer": "respond-async"})
        await _document(response)
        if response.code != 202:
            raise Problem(response.code, "the service does not support jobs")
        (location,) = response.headers.getRawHeaders("location")
        url = response.request.absoluteURI.decode("ascii")  # after redirects
        return RemoteJob(self, urljoin(url, location).removeprefix(self._base))

    async def _request(
        self, path: str, variables: dict[str, Any], headers: dict[str, str] | None = None, **options: Any
    ) -> Any:
        call = CURRENT.get()
        # The request belongs to the trace of the current call, or of the task that a worker performs.
        trace = call.trace if call is not None else current_trace()
        options |= {"headers": {**trace, **self._headers, **(headers or {})}, "timeout": self._timeout}
        if has_files(variables):
            body, options["headers"]["content-type"] = write_multipart(variables)
            return await self._post(self._base + path, data=body, **options)
        if variables:
            return await self._post(self._base + path, json=variables, **options)
        return await self._treq.get(self._base + path, **options)

    async def _post(self, url: str, **options: Any) -> Any:
        """Send a POST request; send it again if the service redirects it because of a trailing slash."""
        response = await self._treq.post(url, allow_redirects=False, **options)
        target = urljoin(url, response.headers.getRawHeaders("location", [""])[0])
        if response.code != 308 or not target.startswith(f"{self._base}/"):
            return response
        await response.content()
        return await self._treq.post(target, allow_redirects=False, **options)

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
    raise _problem(response.code, document)


def _problem(status: int, document: dict[str, Any]) -> Problem:
    texts = {key: str(document.get(key, "")) for key in ("title", "detail", "instance")}
    extra = {key: value for key, value in document.items() if key not in PROBLEM_MEMBERS}
    return Problem(status, extra=extra, **texts)


class RemoteJob:
    """
    A job: a call that runs in the background.

    @ivar path: the path of the job on the service.
    """

    def __init__(self, client: AppClient, path: str) -> None:
        self._client, self.path = client, path

    async def look(self) -> dict[str, Any]:
        """
        Return the status of the job: C{state} (waiting, running, done, failed or cancelled); for a generator,
        the number of yielded C{items} and the last one as C{progress}; in the end C{result} or C{error}.

        @raise Problem: when the job does not exist any more.
        """
        found: dict[str, Any] = await self._client.call(self.path)
        return found

    async def wait(
        self, reactor: Any, progress: Callable[[dict[str, Any]], object] = bool, every: float = 0.5
    ) -> Any:
        """
        Wait until the job has finished.

        @param reactor: an C{IReactorTime}.
        @param progress: a function that is called with each status.
        @param every: the time between two requests for the status, in seconds.
        @return: the result of the job.
        @raise Problem: when the job failed or was cancelled.
        """
        while True:
            status = await self.look()
            progress(status)
            if status["state"] == "done":
                return status.get("result")
            if status["state"] in ("failed", "cancelled"):
                raise _problem(status["error"]["status"], status["error"])
            await deferLater(reactor, every)

    async def cancel(self) -> dict[str, Any]:
        """Cancel the job; if it has finished, delete it. Returns its status."""
        found: dict[str, Any] = await self._client._delete(self.path)
        return found


class _Lines(Protocol):
    """Receive a body and return it line by line, with back-pressure."""

    transport: Any

    def __init__(self) -> None:
        self._unread = b""
        self._lines: deque[bytes] = deque()
        self._failure: Failure | None = None
        self._ended = False
        self._waiting: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        self._lines.extend(lines)
        if len(self._lines) > READ_AHEAD:
            self.transport.pauseProducing()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        self._failure = None if reason.check(ResponseDone) else reason
        if self._unread and self._failure is None:  # the last line need not end with a newline
            self._lines.append(self._unread)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def next(self) -> bytes | None:
        """Return the next line; C{None} at the end."""
        while not self._lines:
            if self._failure is not None:
                raise Problem(200, "the response is incomplete", self._failure.getErrorMessage())
            if self._ended:
                return None
            self.transport.resumeProducing()
            self._waiting = Deferred()
            await self._waiting
        return self._lines.popleft()

    def stop(self) -> None:
        """Stop reading."""
        if not self._ended:
            self.transport.stopProducing()
