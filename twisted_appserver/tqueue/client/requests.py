"""The requests of a queue and the meaning of their responses. Does no I/O; needs the standard library only.

Strategy: L{QueueRequests} has one method for each request that a server offers. A method returns a
L{QueueRequest}: a value with everything that a transport sends, and with C{read}, which turns the response
into a result or an exception. L{attempts} decides when a request is repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from .addresses import Address
from .errors import Empty, Full, ServerError, ShutDown
from .explanations import unauthorized
from .failures import RetryAfter
from .terms import TaskId
from .trace import NAMES

T = TypeVar("T")
Document = dict[str, Any]  # a JSON object
TaskName = tuple[str, int]  # the id of a task, and the delivery that is meant

RESPONSE = 30.0  # seconds that a response may take, not counting the time for which the server may wait
LONGEST_ORDER = 1000  # characters of a sort key; the server refuses longer ones
# Only requests without an effect are sent by GET: HTTP clients, such as twisted.web's, may repeat any GET.
READING = frozenset(("qsize", "stats", "peek", "join", "queues", "result", "show"))


@dataclass(frozen=True)
class QueueRequest(Generic[T]):
    """
    One request, ready to be sent.

    @ivar verb: what it does, such as C{"put"}.
    @ivar origin: the scheme, host and port of the server.
    @ivar path: the escaped path, with the path prefix of the server.
    @ivar query: the unescaped options.
    @ivar headers: without C{Host} and C{Content-Length}.
    @ivar timeout: seconds within which the response must arrive.
    @ivar interpret: turns the JSON object of a successful response into the result.
    @ivar server: the URL of the server, without name and password.
    """

    verb: str
    method: str
    origin: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    timeout: float
    interpret: Callable[[Document], T]
    server: str

    @property
    def target(self) -> str:
        """The request target (RFC 9112, section 3.2.1)."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def url(self) -> str:
        """The URL without the options."""
        return self.origin + self.path

    def within(self, seconds: float) -> QueueRequest[T]:
        """Return the same request with another time-out."""
        return replace(self, timeout=seconds)

    def read(self, status: int, body: bytes) -> T:
        """
        Return the result that a response contains.

        @raise ServerError: when the status is an error, or the body is not a JSON object.
        @raise Empty: when no task arrived in time.
        @raise Full: when there was no room in time.
        @raise ShutDown: when the queue was shut down.
        """
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            reason = f"the response is not a JSON object: {body[:100]!r}"
            raise ServerError(status, reason, f"{self.server} does not look like a TQueueSrv: {reason}")
        if status >= 400:
            raise ServerError(status, str(document.get("detail", "")), self._advice(status))
        return self.interpret(document)

    def _advice(self, status: int) -> str:
        if status == 404:
            return f"{self.server} does not look like a TQueueSrv: it has no {self.path}"
        return unauthorized(self.server, "Authorization" in self.headers) if status == 401 else ""


def _task_or(missing: type[Exception]) -> Callable[[Document], Document]:
    """Return an interpreter that raises C{missing} if the response contains no task."""

    def interpret(document: Document) -> Document:
        if document["task_id"]:
            return document
        raise ShutDown if document.get("reason") == "shutdown" else missing

    return interpret


def _ids_or_full(document: Document) -> list[TaskId]:
    if document["task_ids"]:
        existing = set(document.get("existing", ()))
        return [TaskId(task_id, place in existing) for place, task_id in enumerate(document["task_ids"])]
    raise ShutDown if document.get("reason") == "shutdown" else Full


def _some_tasks(document: Document) -> Document:
    if document["tasks"]:
        return document
    raise ShutDown if document.get("reason") == "shutdown" else Empty


def _figures(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "worker"}


def _lost(document: Document) -> list[TaskName]:
    return [(each["task_id"], each["delivery"]) for each in document["lost"]]


def _tasks(document: Document) -> list[Document]:
    return list(document["tasks"])


def _queues(document: Document) -> Document:
    return dict(document["queues"])


def _number(name: str) -> Callable[[Document], int]:
    return lambda document: int(document[name])


def _found(document: Document) -> bool:
    return bool(document["task_id"])


def _whether_forgotten(document: Document) -> bool:
    return bool(document["forgotten"])


def _is_dropped(document: Document) -> bool:
    return bool(document["task_id"]) or document.get("state") == "dropped"


def _whole(document: Document) -> Document:
    return document


def _nothing(document: Document) -> None:
    return None


class QueueRequests:
    """
    Builds the requests of one queue.

    C{key} is an idempotency key: a request that is repeated with its key has its effect once. C{wait} is the
    number of seconds for which the server may hold the request. C{delivery} names one delivery of the task; 0
    for any. Other options that are C{None} are left to the server.
    """

    def __init__(self, address: Address, name: str) -> None:
        self._server, self._origin, self._root = address.url, address.origin, f"{address.path}/"
        self._path = f"{self._root}{quote(name, safe='')}/"
        self._headers = {"Authorization": address.authorization} if address.authorization else {}

    def _make(
        self,
        verb: str,
        interpret: Callable[[Document], T],
        options: Document | None = None,
        *,
        body: bytes = b"",
        wait: float = 0.0,
        task_id: str | None = None,
    ) -> QueueRequest[T]:
        query = {name: str(value) for name, value in (options or {}).items() if value is not None}
        path = self._root if verb == "queues" else self._path + verb
        if task_id is not None:
            path += f"/{quote(task_id, safe='')}"
        headers = {**self._headers, **{name: query.pop(name) for name in NAMES if name in query}}
        is_get = verb in READING or (verb == "config" and not query)
        if not is_get:
            headers = {**headers, "Content-Type": "application/json"}
        method = "GET" if is_get else "POST"
        return QueueRequest(
            verb, method, self._origin, path, query, headers, body, wait + RESPONSE, interpret, self._server
        )

    def put(
        self,
        task: bytes,
        key: str,
        wait: float = 0.0,
        priority: float | None = None,
        order: str | None = None,
        terms: Document | None = None,
    ) -> QueueRequest[Document]:
        """
        Add a task. C{read} raises C{Full} if there was no room in time.

        @param task: its fields, a JSON object.
        @param order: text that sorts tasks of the same priority.
        @param terms: the result of L{put_options}.
        """
        order = None if order is None else order[:LONGEST_ORDER]
        options = {"key": key, "priority": priority, "order": order}
        options |= {"timeout": wait, "detail": 1, **(terms or {})}
        return self._make("put", _task_or(Full), options, body=task, wait=wait)

    def put_many(
        self,
        tasks: bytes,
        key: str,
        wait: float = 0.0,
        terms: Document | None = None,
    ) -> QueueRequest[list[TaskId]]:
        """
        Add many tasks: all or none. The result is their ids; C{read} raises C{Full} as for L{put}.

        @param tasks: a JSON array, whose elements are tasks, arrays of a task, its priority and its order, or
            arrays of a task and its options.
        """
        options = {"key": key, "timeout": wait, "detail": 1, **(terms or {})}
        return self._make("put", _ids_or_full, options, body=tasks, wait=wait)

    def get(
        self, key: str, wait: float = 0.0, lease: float | None = None, by: str | None = None
    ) -> QueueRequest[Document]:
        """
        Lease the next task. C{read} raises C{Empty} if no task arrived in time.

        @param lease: seconds.
        @param by: who gets the task, for the records of attempts.
        """
        options = {"key": key, "lease": lease, "by": by, "timeout": wait, "detail": 1}
        return self._make("get", _task_or(Empty), options, wait=wait)

    def get_many(
        self, n: int, key: str, wait: float = 0.0, lease: float | None = None, by: str | None = None
    ) -> QueueRequest[Document]:
        """
        Lease up to C{n} tasks. The response has them in C{tasks}; C{read} raises C{Empty} as for L{get}.

        @param lease: seconds.
        @param by: who gets the tasks, for the records of attempts.
        """
        options = {"n": n, "key": key, "lease": lease, "by": by, "timeout": wait, "detail": 1}
        return self._make("get", _some_tasks, options, wait=wait)

    def done_many(self, tasks: Iterable[tuple[str, int, bytes]]) -> QueueRequest[list[TaskName]]:
        """
        Finish many tasks. The result contains the tasks that were not leased.

        @param tasks: the id, the delivery and the result of each.
        """
        named = [
            b'{"task_id":%b,"delivery":%d%b}'
            % (json.dumps(task_id).encode(), delivery, b',"result":' + result if result else b"")
            for task_id, delivery, result in tasks
        ]
        return self._make("done", _lost, body=b'{"tasks":[%b]}' % b",".join(named))

    def done(self, task_id: str, delivery: int = 0, result: bytes = b"") -> QueueRequest[Document]:
        """
        Finish a task. The response's C{task_id} is empty if the task is not leased. This applies to the next
        three methods, too.

        @param result: the result of the task, any JSON value; empty for none.
        """
        return self._make("done", _whole, {"delivery": delivery}, body=result, task_id=task_id)

    def result(self, task_id: str, wait: float) -> QueueRequest[Document]:
        """Wait until a task has ended. The response has its C{state} and its C{result}."""
        return self._make("result", _whole, {"timeout": wait}, wait=wait, task_id=task_id)

    def extend(self, task_id: str, delivery: int = 0, lease: float | None = None) -> QueueRequest[Document]:
        """Let the lease of a task end C{lease} seconds from now."""
        return self._make("extend", _whole, {"delivery": delivery, "lease": lease}, task_id=task_id)

    def release(self, task_id: str, delivery: int = 0, delay: float | None = None) -> QueueRequest[Document]:
        """Give a task back, for any worker after C{delay} seconds."""
        return self._make("release", _whole, {"delivery": delivery, "delay": delay}, task_id=task_id)

    def fail(
        self, task_id: str, delivery: int, error: str, traceback: str = "", retry: RetryAfter = None
    ) -> QueueRequest[Document]:
        """Give back a task that has failed."""
        fields = {"error": error, "traceback": traceback, "retry": retry}
        body = json.dumps({name: value for name, value in fields.items() if value not in ("", None)}).encode()
        return self._make("fail", _whole, {"delivery": delivery}, body=body, task_id=task_id)

    def show(self, task_id: str) -> QueueRequest[Document]:
        """Return all that is known of a task."""
        return self._make("show", _figures, task_id=task_id)

    def bury(self, task_id: str, delivery: int = 0) -> QueueRequest[Document]:
        """Put a task aside, until it is kicked."""
        return self._make("bury", _whole, {"delivery": delivery}, task_id=task_id)

    def renew(self, tasks: Iterable[Any], lease: float | None = None) -> QueueRequest[list[TaskName]]:
        """Let the leases of many tasks end C{lease} seconds from now. The result contains the lost leases."""
        named = [dict(zip(("task_id", "delivery", "progress"), task, strict=False)) for task in tasks]
        return self._make("renew", _lost, {"lease": lease}, body=json.dumps({"tasks": named}).encode())

    def kick(self, n: int, key: str) -> QueueRequest[int]:
        """Make up to C{n} buried tasks ready again. The result is their number."""
        return self._make("kick", _number("kicked"), {"n": n, "key": key})

    def kick_task(self, task_id: str) -> QueueRequest[bool]:
        """Make a buried or delayed task ready. The result is whether there is such a task."""
        return self._make("kick", _found, task_id=task_id)

    def drop(self, task_id: str) -> QueueRequest[bool]:
        """Remove a task in any state. The result is whether it was removed, now or before."""
        return self._make("drop", _is_dropped, task_id=task_id)

    def peek(self, n: int, state: str) -> QueueRequest[list[Document]]:
        """Return the first C{n} tasks in a state, without leasing them."""
        return self._make("peek", _tasks, {"n": n, "state": state})

    def qsize(self) -> QueueRequest[int]:
        """Return the number of tasks that are ready."""
        return self._make("qsize", _number("qsize"))

    def stats(self) -> QueueRequest[Document]:
        """Return the figures and options of the queue."""
        return self._make("stats", _figures)

    def join(self, wait: float) -> QueueRequest[int]:
        """Wait until every task is done or buried. The result is the number of other tasks."""
        return self._make("join", _number("unfinished"), {"timeout": wait}, wait=wait)

    def shutdown(self, immediate: bool) -> QueueRequest[None]:
        """Refuse further puts, and remove the waiting tasks if C{immediate}."""
        return self._make("shutdown", _nothing, {"immediate": int(immediate)})

    def pause(self) -> QueueRequest[None]:
        """Hand out no task, until the queue is resumed."""
        return self._make("pause", _nothing)

    def resume(self) -> QueueRequest[None]:
        """Hand out tasks again."""
        return self._make("resume", _nothing)

    def config(self, options: Document) -> QueueRequest[Document]:
        """Set these options of the queue. The result is all options."""
        return self._make("config", _figures, options)

    def purge(self, key: str) -> QueueRequest[int]:
        """Remove the waiting tasks. The result is their number."""
        return self._make("purge", _number("purged"), {"key": key})

    def forget(self, unique: str) -> QueueRequest[bool]:
        """Free a unique key. The result is whether it was taken beyond the end of its task."""
        return self._make("forget", _whether_forgotten, {"unique": unique})

    def delete(self) -> QueueRequest[None]:
        """Remove the queue with all its tasks."""
        return self._make("delete", _nothing)

    def queues(self) -> QueueRequest[Document]:
        """List the queues of the server. The result contains the figures of each, by name."""
        return self._make("queues", _queues, {"detail": 1})
