"""TQueueSrv on the wire: the requests that a broker answers, as patterns of an ordinary application.

The article's four requests (put, get, done, qsize), and those that only read, may be a GET or a POST. All
others require POST, so that no link or picture on a foreign page can make them. A path may end with a slash
or not. A request that cannot succeed gets the status 200 and an empty task_id. The query holds everything
but the task itself.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Coroutine
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from zope.interface import implementer

from twisted_appserver import Call, HTTPError, Reply, Route
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.conversions.msgspec_converter import MsgspecConverter
from twisted_appserver.core.request_data import read_fields, read_query
from twisted_appserver.queue.backends import Store, embedded_broker
from twisted_appserver.queue.interface import (
    STOPPING,
    AwayError,
    IBroker,
    LimitError,
    ReusedError,
    StoreError,
)
from twisted_appserver.queue.local.memory_journal import MemoryStore
from twisted_appserver.queue.model import MOST, Config, Task
from twisted_appserver.serving.readiness import IDependency

T = TypeVar("T")

READING = ("qsize", "peek", "join", "stats")
CHANGING = ("kick", "renew", "shutdown", "purge", "delete")
FINISHING = ("extend", "release", "bury")  # requests about one task
JSON = (("content-type", "application/json"),)
LONGEST_NAME, LONGEST_KEY = 200, 500  # characters
WEEK = 7 * 86400.0  # seconds
NUMBER = re.compile("[0-9a-f]{1,15}")  # of a task, in its id
SIGNATURE = 8  # bytes in an id, so that nobody guesses it
UNKNOWN = "unknown"  # the reason where there is no such active task


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What may stand in the query string of a request.

    @ivar timeout: seconds to wait for what the request is about; C{inf} for ever.
    @ivar lease: seconds.
    @ivar delay: seconds until a task may be got.
    @ivar key: names the request, so that it can be repeated; any text. Those of clients begin with U+0001.
    @ivar delivery: the delivery of the task that is meant, if it must be that one.
    @ivar detail: whether the answer says more than the article's did.
    @ivar n: how many tasks.
    """

    timeout: float = 0.0
    lease: float | None = None
    priority: float = 0.0
    order: str = ""
    delay: float = 0.0
    key: str = ""
    delivery: int = 0
    detail: bool = False
    n: int = 10
    state: Literal["ready", "delayed", "leased", "buried"] = "ready"
    immediate: bool = False

    def __post_init__(self) -> None:
        if not self.timeout >= 0:
            raise ValueError(f"timeout must be 0 or more, not {self.timeout}")
        if self.lease is not None and not 0 < self.lease <= WEEK:
            raise ValueError(f"lease must be more than 0 and at most {WEEK:.0f} seconds, not {self.lease}")
        if not 0 <= self.delay <= 53 * WEEK:
            raise ValueError(f"delay must be 0 to {53 * WEEK:.0f} seconds, not {self.delay}")
        if self.priority != self.priority:
            raise ValueError("priority must be a number")
        if len(self.key) > LONGEST_KEY or len(self.order) > 2 * LONGEST_KEY:
            raise ValueError(f"key and order must be at most {LONGEST_KEY} and {2 * LONGEST_KEY} characters")
        if len(self.order.encode("utf-8", "surrogatepass")) > 4 * LONGEST_KEY:
            raise ValueError(f"order must be at most {4 * LONGEST_KEY} bytes of UTF-8")
        if not (0 <= self.n <= MOST and 0 <= self.delivery <= MOST):
            raise ValueError(f"n and delivery must be 0 to {MOST}")
        if "\0" in self.key or "\0" in self.order:
            raise ValueError("key and order must not have the character NUL")


class Leased(msgspec.Struct, frozen=True):
    """A task that is to be renewed; C{delivery} is 0 for any."""

    task_id: str
    delivery: Annotated[int, msgspec.Meta(ge=0, le=MOST)] = 0


class Renewal(msgspec.Struct, frozen=True):
    """The body of a request to renew leases."""

    tasks: list[Leased]


NOTHING = Query()
QUERY = MsgspecConverter(Query, finite=False)


def _refuse(method: str, allowed: str) -> HTTPError:
    return HTTPError(405, f"this request requires {allowed}, not {method}", [("allow", allowed)])


def read_options(call: Call) -> Query:
    """
    @raise HTTPError: 422 when there is no such option, or its value is wrong.
    """
    if not call.query:
        return NOTHING
    try:
        return QUERY.convert(read_query(call.query), False)  # type: ignore[no-any-return]
    except ConversionError as error:
        raise HTTPError(422, error.message("", "the query string")) from None


def read_task(call: Call, worker: str) -> bytes:
    """
    The task that a request carries: the fields of its body as JSON. JSON stays as it came, to the last digit.
    The field C{worker} may only repeat the name of the queue, and is left out.

    @raise HTTPError: 422 when it is anything else.
    """
    if not call.body:
        return b"{}"
    fields, is_json = read_fields(call.body, call.raw_headers)
    if is_json and "worker" not in fields:
        return call.body
    if fields.pop("worker", worker) != worker:
        raise HTTPError(
            422, "the field 'worker' is reserved for the name of the queue; give it another name in the task"
        )
    if is_json:
        fields = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
        del fields["worker"]
    return msgspec.json.encode(fields)


def read_renewal(call: Call) -> list[Leased]:
    """
    @raise HTTPError: 422 when the body does not name tasks.
    """
    fields = read_fields(call.body, call.raw_headers)[0] if call.body else {}
    try:
        return msgspec.convert(fields, Renewal).tasks
    except msgspec.ValidationError as error:
        raise HTTPError(422, f"the body must be like {{'tasks': [{{'task_id': ...}}]}}: {error}") from None


@implementer(IDependency)
class Wire:
    """The requests: each method with C{worker} among its parameters is the function of a route."""

    def __init__(self, broker: IBroker, reactor: Any, max_task: int) -> None:
        self._broker, self._reactor, self._max_task = broker, reactor, max_task

    def unready(self) -> str:
        return self._broker.unready() if self._broker.started else ""

    async def check(self) -> None:
        if self._broker.started:
            await self._broker.check()

    def _check(self, worker: str, call: Call | None = None) -> None:
        """
        Refuse a name that is none, and start the broker at the first request of all.

        @param call: of a request that has an effect, which HEAD must not have (RFC 9110, section 9.2.1).
        """
        if call is not None and call.method == "HEAD":
            raise _refuse("HEAD", "GET, POST")
        if len(worker) > LONGEST_NAME or not worker.isprintable():
            raise HTTPError(400, f"a queue's name is at most {LONGEST_NAME} printable characters")
        if not self._broker.started:
            self._broker.start()
            self._reactor.addSystemEventTrigger("before", "shutdown", self._broker.stop_waiting)

    async def _ask(self, asked: Coroutine[Any, Any, T]) -> T:
        """What the broker answers. Every one of its errors becomes a status here."""
        try:
            answer = await asked
        except LimitError as error:
            raise HTTPError(403, str(error)) from None
        except ReusedError as error:
            raise HTTPError(422, str(error)) from None
        except AwayError as error:
            raise HTTPError(503, str(error), [("retry-after", "1")]) from None
        except StoreError as error:
            raise HTTPError(507, f"this cannot be stored now: {error}", [("retry-after", "1")]) from None
        if answer == STOPPING:
            raise HTTPError(503, "the server is stopping; try again", [("retry-after", "1")])
        return answer

    def _number(self, worker: str, task_id: str) -> int:
        """The number in a task's id; 0, which no task has, if it is not an id of this queue."""
        digits = task_id.partition("-")[0]
        number = int(digits, 16) if NUMBER.fullmatch(digits) else 0
        same = hmac.compare_digest(task_id.encode("utf-8", "replace"), self._id(worker, number).encode())
        return number if same else 0

    def _id(self, worker: str, number: int) -> str:
        """The id of a task: its number, signed, so that nobody can guess that of another."""
        text = f"{number:x}"
        signature = hmac.digest(self._broker.secret, f"{worker}/{text}".encode(), "sha256")
        return f"{text}-{signature[:SIGNATURE].hex()}"

    def _about(self, worker: str, found: Task | str | None, query: Query, **more: Any) -> dict[str, Any]:
        """What is said of a task, or that there is none."""
        task = found if isinstance(found, Task) else None
        about = {"worker": worker, "task_id": self._id(worker, task.number) if task else "", **more}
        if query.detail:
            about |= {"delivery": task.deliveries} if task else {"reason": found or UNKNOWN}
        return about

    def _reply(self, worker: str, found: Task | str | None, query: Query) -> Reply:
        """The same, with the task itself."""
        task = msgspec.Raw(found.body) if isinstance(found, Task) else {}
        return Reply(msgspec.json.encode(self._about(worker, found, query, task=task)), 200, JSON)

    async def put(self, call: Call, worker: str) -> dict[str, Any]:
        """Put the fields of the body into a queue, as a task."""
        self._check(worker, call)
        query, body = read_options(call), read_task(call, worker)
        if len(body) > self._max_task:
            raise HTTPError(413, f"a task is at most {self._max_task} bytes, not {len(body)}")
        task = Task(0, body, query.priority, query.order)
        found = await self._ask(self._broker.put(worker, task, query.key, query.timeout, query.delay))
        repeated = {"repeated": True} if isinstance(found, Task) and not found.body else {}
        return self._about(worker, found, query, **repeated)

    async def get(self, call: Call, worker: str) -> Reply:
        """Get the next task of a queue, on lease."""
        self._check(worker, call)
        query = read_options(call)
        found = await self._ask(self._broker.get(worker, query.lease, query.key, query.timeout))
        return self._reply(worker, found, query)

    async def done(self, call: Call, worker: str, task_id: str) -> Reply:
        """Say that a leased task is done."""
        self._check(worker, call)
        query = read_options(call)
        found = await self._ask(self._broker.done(worker, self._number(worker, task_id), query.delivery))
        return self._reply(worker, found, query)

    async def extend(self, call: Call, worker: str, task_id: str) -> dict[str, Any]:
        """Keep a leased task for longer."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        found = await self._ask(self._broker.extend(worker, number, query.lease, query.delivery))
        return self._about(worker, found, query)

    async def renew(self, call: Call, worker: str) -> dict[str, Any]:
        """Keep many leased tasks for longer. Returns those that are not leased any more."""
        self._check(worker)
        query, tasks = read_options(call), read_renewal(call)
        numbers = [(self._number(worker, task.task_id), task.delivery) for task in tasks]
        kept = await self._ask(self._broker.renew(worker, numbers, query.lease))
        lost = [task for task, is_kept in zip(tasks, kept, strict=True) if not is_kept]
        return {"worker": worker, "lost": lost}

    async def release(self, call: Call, worker: str, task_id: str) -> dict[str, Any]:
        """Give a leased task back."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        found = await self._ask(self._broker.release(worker, number, query.delay, query.delivery))
        return self._about(worker, found, query)

    async def bury(self, call: Call, worker: str, task_id: str) -> dict[str, Any]:
        """Put a leased task aside, until it is kicked."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        found = await self._ask(self._broker.bury(worker, number, query.delivery))
        return self._about(worker, found, query)

    async def kick(self, call: Call, worker: str) -> dict[str, Any]:
        """Bring buried tasks back to life."""
        self._check(worker)
        query = read_options(call)
        return {"worker": worker, "kicked": await self._ask(self._broker.kick(worker, query.n, query.key))}

    async def peek(self, call: Call, worker: str) -> Reply:
        """Look at the first tasks of a queue, without getting them."""
        self._check(worker)
        query = read_options(call)
        tasks = [
            {
                "task_id": self._id(worker, task.number),
                "task": msgspec.Raw(task.body),
                "deliveries": task.deliveries,
                "priority": task.priority,
                "due": task.due,
                "lease": task.lease,
            }
            for task in await self._ask(self._broker.peek(worker, query.n, query.state))
        ]
        return Reply(msgspec.json.encode({"worker": worker, "tasks": tasks}), 200, JSON)

    async def qsize(self, call: Call, worker: str) -> dict[str, Any]:
        """How many tasks wait in a queue; with C{detail}, also how many are buried."""
        self._check(worker)
        if read_options(call).detail:
            stats = await self._ask(self._broker.stats(worker))
            return {"worker": worker, "qsize": stats["ready"], "buried": stats["buried"]}
        sizes = await self._ask(self._broker.qsizes(worker))
        return {"worker": worker, "qsize": sizes.get(worker, 0)}

    async def stats(self, call: Call, worker: str) -> dict[str, Any]:
        """All figures of a queue."""
        self._check(worker)
        config = await self._ask(self._broker.config(worker))
        return {"worker": worker, **await self._ask(self._broker.stats(worker)), **_shown(config)}

    async def join(self, call: Call, worker: str) -> dict[str, Any]:
        """Wait until no task of a queue is left to be done. Those that are buried are not waited for."""
        self._check(worker)
        unfinished, buried = await self._ask(self._broker.join(worker, read_options(call).timeout))
        return {"worker": worker, "unfinished": unfinished, "buried": buried}

    async def shutdown(self, call: Call, worker: str) -> dict[str, Any]:
        """Refuse further puts; gets go on until the queue is empty, or end now."""
        self._check(worker)
        config = await self._ask(self._broker.config(worker))
        immediate = read_options(call).immediate or config.shutdown == "immediate"
        changes = {"shutdown": "immediate" if immediate else "draining"}
        await self._ask(self._broker.change(worker, changes))
        return {"worker": worker, "is_shutdown": True}

    async def config(self, call: Call, worker: str) -> dict[str, Any]:
        """The options of a queue; a POST sets those that its body or query names."""
        self._check(worker)
        changes = read_query(call.query) if call.query else {}
        if call.method != "POST" and (changes or call.body):
            raise _refuse(call.method, "POST")
        if call.body:
            changes.update(read_fields(call.body, call.raw_headers)[0])
        if not changes:
            config = await self._ask(self._broker.config(worker))
        else:
            try:
                config = await self._ask(self._broker.change(worker, changes))
            except ConversionError as error:
                raise HTTPError(422, error.message("", "the options")) from None
        return {"worker": worker, **_shown(config)}

    async def purge(self, call: Call, worker: str) -> dict[str, Any]:
        """Throw away what waits in a queue; what is leased or buried stays."""
        self._check(worker)
        key = read_options(call).key
        return {"worker": worker, "purged": await self._ask(self._broker.purge(worker, key))}

    async def delete(self, call: Call, worker: str) -> dict[str, Any]:
        """Forget a queue with all its tasks."""
        self._check(worker)
        await self._ask(self._broker.delete(worker))
        return {"worker": worker}

    async def queues(self, call: Call) -> dict[str, Any]:
        """List the queues."""
        self._check("")
        sizes = await self._ask(self._broker.qsizes(None))
        return {"queues": {name: {"qsize": size} for name, size in sizes.items()}}


def _shown(config: Config) -> dict[str, Any]:
    return msgspec.structs.asdict(config)


def url_patterns(
    store: Store | None = None,
    *,
    reactor: Any = None,
    broker: IBroker | None = None,
    max_task: int = 1024 * 1024,
    max_queues: int = 10_000,
) -> tuple[Any, ...]:
    """
    The table of an application that serves queues; C{include} mounts it below any prefix.

    @param store: where tasks are kept; in memory if C{None}. It is opened at the first request, and never
        closed: it has what was answered, however the process ends. A table for the same file or database, as
        after a reload, goes on with it.
    @param reactor: the embedder's; the global one if C{None}.
    @param broker: one that its owner starts and stops, instead of a store.
    @param max_task: bytes of a task; a longer one gets 413.
    @param max_queues: a request that would make more of them gets 403.
    """
    if reactor is None:
        from twisted.internet import reactor
    wire = Wire(broker or embedded_broker(reactor, store or MemoryStore(), max_queues), reactor, max_task)
    methods: tuple[str, ...] = ("GET", "POST")
    table = [(verb, methods) for verb in ("put", "get", "done/(?P<task_id>)", "config", *READING)]
    table += [(verb, ("POST",)) for verb in (*CHANGING, *(f"{verb}/(?P<task_id>)" for verb in FINISHING))]
    # These requests may wait: their own timeout is the only limit.
    return (
        Route("/", wire.queues, timeout=0),
        *(
            Route(f"/(?P<worker>)/{path}{slash}", getattr(wire, path.partition("/")[0]), allowed, timeout=0)
            for path, allowed in table
            for slash in ("/", "")
        ),
    )
