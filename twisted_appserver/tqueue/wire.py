"""The requests of TQueueSrv: named queues of tasks, for workers on several hosts.

The article's four requests (put, get, done, qsize) and the requests that only read may be a GET or a POST.
All others require POST, so that a link or picture on a foreign page cannot make them. A trailing slash is
optional. If a request cannot succeed, the status is 200 and task_id is empty. The query string has all
options, and the body has the task.
"""

from __future__ import annotations

from typing import Any

import msgspec
from zope.interface import implementer

from twisted_appserver import Call, HTTPError, Reply, Route
from twisted_appserver.admin.call_descriptions import describe
from twisted_appserver.admin.store_errors import ask
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.headers import JSON_HEADERS
from twisted_appserver.queue.backends import Store, embedded_broker
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.local.memory_journal import MemoryStore
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_documents import (
    UNKNOWN,
    added_document,
    details_document,
    peeked_document,
    result_document,
    trace_document,
)
from twisted_appserver.queue.task_ids import task_id, task_number
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.serving.readiness import IDependency
from twisted_appserver.tqueue.batch_requests import BatchRequests, is_batch
from twisted_appserver.tqueue.failure_body import read_failure
from twisted_appserver.tqueue.queue_list import list_queues
from twisted_appserver.tqueue.request_descriptions import DESCRIPTIONS
from twisted_appserver.tqueue.request_options import (
    Query,
    put_terms,
    read_changes,
    read_options,
    read_result,
    read_task,
    read_unique,
    wrong_option,
)

__title__ = "TQueueSrv"  # of the OpenAPI document and the pages

READING = ("qsize", "peek", "join", "stats")
CHANGING = ("done", "kick", "renew", "pause", "resume", "shutdown", "purge", "delete", "forget")
SHOWING = ("result", "show")  # requests about one task that only read
SINGLE = ("extend", "release", "fail", "bury", "kick", "drop")  # requests about one task
LONGEST_NAME = 200  # characters; clients have the same limit
DROPPED = b"null"  # the result of a task that a client drops
MOST_LEASES = 1000  # queues whose option lease is remembered


def _refuse(method: str, allowed: str) -> HTTPError:
    return HTTPError(405, f"this request requires {allowed}, not {method}", [("allow", allowed)])


@implementer(IDependency)
class Wire:
    """The functions of the routes: the methods with a parameter C{worker}, which is the name of a queue."""

    _ask = staticmethod(ask)

    def __init__(self, broker: IBroker, reactor: Any, max_task: int) -> None:
        self._broker, self._reactor, self._max_task = broker, reactor, max_task
        self._usual_leases: dict[str, tuple[float, float]] = {}  # seconds, and until when they are valid
        self._batches = BatchRequests(broker, self._ask, self._id, self._number, max_task)

    def unready(self) -> str:
        return self._broker.unready() if self._broker.started else ""

    async def check(self) -> None:
        if self._broker.started:
            await self._broker.check()

    def _check(self, worker: str, call: Call | None = None) -> None:
        """
        Check the name of a queue, and start the broker at the first request.

        @param call: the call, if the request has an effect: HEAD must not (RFC 9110, section 9.2.1).
        @raise HTTPError: 400 for a bad name, 405 for HEAD.
        """
        if call is not None and call.method == "HEAD":
            raise _refuse("HEAD", "GET, POST")
        if len(worker) > LONGEST_NAME or not worker.isprintable():
            raise HTTPError(400, f"a queue's name is at most {LONGEST_NAME} printable characters")
        if not self._broker.started:
            self._broker.start()
            self._reactor.addSystemEventTrigger("before", "shutdown", self._broker.stop_waiting)

    def _number(self, worker: str, text: str) -> int:
        return task_number(self._broker.secret, worker, text)

    def _id(self, worker: str, number: int) -> str:
        return task_id(self._broker.secret, worker, number)

    def _about(
        self, worker: str, found: QueuedTask | str | None, query: Query, **more: Any
    ) -> dict[str, Any]:
        """Describe a task, or why there is none."""
        task = found if isinstance(found, QueuedTask) else None
        about = {"worker": worker, "task_id": self._id(worker, task.number) if task else "", **more}
        if query.detail:
            about |= {"delivery": task.deliveries} if task else {"reason": found or UNKNOWN}
        return about

    def _reply(self, worker: str, found: QueuedTask | str | None, query: Query, **more: Any) -> Reply:
        """Describe a task, with its fields."""
        task = msgspec.Raw(found.body) if isinstance(found, QueuedTask) else {}
        about = self._about(worker, found, query, task=task, **more)
        return Reply(msgspec.json.encode(about), 200, JSON_HEADERS)

    async def put(self, call: Call, worker: str) -> dict[str, Any]:
        """Add a task: the fields of the body. If the body is an array, add many tasks."""
        self._check(worker, call)
        query = read_options(call)
        if is_batch(call):
            return await self._batches.put(call, worker, query)
        body = read_task(call, worker)
        if len(body) > self._max_task:
            raise HTTPError(413, f"a task is at most {self._max_task} bytes, not {len(body)}")
        task = QueuedTask(0, body, query.priority, query.order, terms=put_terms(call, query))
        found = await self._ask(self._broker.put(worker, task, query.key, query.timeout, query.delay))
        return self._about(worker, found, query, **added_document(found))

    async def get(self, call: Call, worker: str) -> Reply:
        """Lease the next task of a queue; with C{n}, up to so many tasks."""
        self._check(worker, call)
        query = read_options(call)
        if query.n is not None:
            return await self._get_many(worker, query)
        found = await self._ask(self._broker.get(worker, query.lease, query.key, query.timeout, query.by))
        if not (query.detail and isinstance(found, QueuedTask)):
            return self._reply(worker, found, query, **trace_document(found))
        lease = query.lease or found.span or await self._usual_lease(worker)
        return self._reply(worker, found, query, lease=lease, **trace_document(found))

    async def _get_many(self, worker: str, query: Query) -> Reply:
        document = await self._batches.get(worker, query)
        if query.detail:
            document["lease"] = query.lease or await self._usual_lease(worker)
        return Reply(msgspec.json.encode(document), 200, JSON_HEADERS)

    async def _usual_lease(self, worker: str) -> float:
        """Return the option of a queue. Another server may change it, so it is read again after a second."""
        now: float = self._reactor.seconds()
        lease, until = self._usual_leases.get(worker, (0.0, now))
        if now >= until:
            config: Config = await self._ask(self._broker.config(worker))
            lease = config.lease
            if len(self._usual_leases) >= MOST_LEASES:
                self._usual_leases.clear()
            self._usual_leases[worker] = lease, now + 1.0
        return lease

    async def done(self, call: Call, worker: str, task_id: str = "") -> dict[str, Any] | Reply:
        """Finish a leased task. The body is its result. Without an id: finish the tasks in the body."""
        self._check(worker, call)
        if not task_id:
            return await self._batches.done(call, worker)
        query, number = read_options(call), self._number(worker, task_id)
        result = read_result(call) if call.body else b""
        if len(result) > self._max_task:
            raise HTTPError(413, f"a result is at most {self._max_task} bytes, not {len(result)}")
        found = await self._ask(self._broker.done(worker, number, query.delivery, result))
        return self._reply(worker, found, query)

    async def result(self, call: Call, worker: str, task_id: str) -> Reply:
        """Wait until a task has ended. Return its state and its result."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        found = await self._ask(self._broker.result(worker, number, query.timeout))
        about = result_document(worker, task_id, found if isinstance(found, TaskResult) else None)
        return Reply(msgspec.json.encode(about), 200, JSON_HEADERS)

    async def show(self, call: Call, worker: str, task_id: str) -> Reply:
        """Show a task in any state, with its attempts."""
        self._check(worker)
        number = self._number(worker, task_id)
        found = await self._ask(self._broker.show(worker, number))
        progress = await self._ask(self._broker.progress(worker, [number])) if found else {}
        document = details_document(worker, task_id, found, progress.get(number, b""))
        return Reply(msgspec.json.encode(document), 200, JSON_HEADERS)

    async def fail(self, call: Call, worker: str, task_id: str) -> dict[str, Any]:
        """Give back a leased task that has failed, with the error and the traceback in the body."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        failure, retry = read_failure(call)
        found = await self._ask(self._broker.fail(worker, number, query.delivery, failure, retry))
        return self._about(worker, found and found[0], query, **({"retry": found[1]} if found else {}))

    async def extend(self, call: Call, worker: str, task_id: str) -> dict[str, Any]:
        """Extend the lease of a task."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        found = await self._ask(self._broker.extend(worker, number, query.lease, query.delivery))
        return self._about(worker, found, query)

    async def renew(self, call: Call, worker: str) -> dict[str, Any]:
        """Renew the leases of many tasks. Return the tasks that are no longer leased."""
        self._check(worker)
        return await self._batches.renew(call, worker, read_options(call))

    async def release(self, call: Call, worker: str, task_id: str) -> dict[str, Any]:
        """Release a leased task, for any worker."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        found = await self._ask(self._broker.release(worker, number, query.delay, query.delivery))
        return self._about(worker, found, query)

    async def bury(self, call: Call, worker: str, task_id: str) -> dict[str, Any]:
        """Put a leased task aside until it is kicked."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        found = await self._ask(self._broker.bury(worker, number, query.delivery))
        return self._about(worker, found, query)

    async def drop(self, call: Call, worker: str, task_id: str) -> Reply:
        """Remove a task in any state. A worker that has it loses its lease."""
        self._check(worker)
        query, number = read_options(call), self._number(worker, task_id)
        found = await self._ask(self._broker.drop(worker, number, DROPPED))
        ended = None if found else await self._ask(self._broker.result(worker, number, 0.0))
        state = ended.state if isinstance(ended, TaskResult) else UNKNOWN
        return self._reply(worker, found, query, state="dropped" if found else state)

    async def kick(self, call: Call, worker: str, task_id: str = "") -> dict[str, Any]:
        """
        Make buried tasks ready again, the oldest first. With an id, make this buried or delayed task ready.
        """
        self._check(worker)
        query = read_options(call)
        if task_id:
            number = self._number(worker, task_id)
            return self._about(worker, await self._ask(self._broker.kick_task(worker, number)), query)
        return {
            "worker": worker,
            "kicked": await self._ask(self._broker.kick(worker, query.count, query.key)),
        }

    async def peek(self, call: Call, worker: str) -> Reply:
        """Show the first tasks of a queue without leasing them."""
        self._check(worker)
        query = read_options(call)
        found = await self._ask(self._broker.peek(worker, query.count, query.state))
        failed = [task.number for task in found if task.attempts]
        errors = await self._ask(self._broker.errors(worker, failed)) if failed else {}
        numbers = [task.number for task in found if query.state == "leased"]
        progress = await self._ask(self._broker.progress(worker, numbers)) if numbers else {}
        tasks = [
            peeked_document(
                each,
                self._id(worker, each.number),
                errors.get(each.number, ""),
                progress.get(each.number, b""),
            )
            for each in found
        ]
        return Reply(msgspec.json.encode({"worker": worker, "tasks": tasks}), 200, JSON_HEADERS)

    async def qsize(self, call: Call, worker: str) -> dict[str, Any]:
        """Count the tasks that are ready in a queue; with C{detail}, also the buried ones."""
        self._check(worker)
        if read_options(call).detail:
            stats = await self._ask(self._broker.stats(worker))
            return {"worker": worker, "qsize": stats["ready"], "buried": stats["buried"]}
        sizes = await self._ask(self._broker.qsizes(worker))
        return {"worker": worker, "qsize": sizes.get(worker, 0)}

    async def stats(self, call: Call, worker: str) -> dict[str, Any]:
        """Return all figures and options of a queue."""
        self._check(worker)
        config = await self._ask(self._broker.config(worker))
        return {"worker": worker, **await self._ask(self._broker.stats(worker)), **_shown(config)}

    async def join(self, call: Call, worker: str) -> dict[str, Any]:
        """Wait until every task of a queue is done or buried."""
        self._check(worker)
        unfinished, buried = await self._ask(self._broker.join(worker, read_options(call).timeout))
        return {"worker": worker, "unfinished": unfinished, "buried": buried}

    async def shutdown(self, call: Call, worker: str) -> dict[str, Any]:
        """Refuse further puts. Gets work until the queue is empty, or end now if C{immediate}."""
        self._check(worker)
        config = await self._ask(self._broker.config(worker))
        immediate = read_options(call).immediate or config.shutdown == "immediate"
        changes = {"shutdown": "immediate" if immediate else "draining"}
        await self._ask(self._broker.change(worker, changes))
        return {"worker": worker, "is_shutdown": True}

    async def pause(self, call: Call, worker: str) -> dict[str, Any]:
        """Hand out no task of a queue, until it is resumed. Gets wait, and leased tasks can be finished."""
        return await self._set_paused(worker, True)

    async def resume(self, call: Call, worker: str) -> dict[str, Any]:
        """Hand out the tasks of a queue again."""
        return await self._set_paused(worker, False)

    async def _set_paused(self, worker: str, paused: bool) -> dict[str, Any]:
        self._check(worker)
        await self._ask(self._broker.change(worker, {"paused": paused}))
        return {"worker": worker, "paused": paused}

    async def config(self, call: Call, worker: str) -> dict[str, Any]:
        """Return the options of a queue. A POST sets the options in its body and query string."""
        self._check(worker)
        if call.method != "POST" and (call.query or call.body):
            raise _refuse(call.method, "POST")
        changes = read_changes(call)
        if not changes:
            config = await self._ask(self._broker.config(worker))
        else:
            try:
                config = await self._ask(self._broker.change(worker, changes))
                self._usual_leases.pop(worker, None)
            except ConversionError as error:
                raise wrong_option(error, changes, Config, "the options") from None
        return {"worker": worker, **_shown(config)}

    async def purge(self, call: Call, worker: str) -> dict[str, Any]:
        """Remove the waiting tasks of a queue. Leased and buried ones stay."""
        self._check(worker)
        key = read_options(call).key
        return {"worker": worker, "purged": await self._ask(self._broker.purge(worker, key))}

    async def forget(self, call: Call, worker: str) -> dict[str, Any]:
        """Free a unique key that is taken beyond the end of its task."""
        self._check(worker)
        return {
            "worker": worker,
            "forgotten": await ask(self._broker.free(worker, read_unique(call))),
        }

    async def delete(self, call: Call, worker: str) -> dict[str, Any]:
        """Remove a queue with all its tasks."""
        self._check(worker)
        await self._ask(self._broker.delete(worker))
        self._usual_leases.pop(worker, None)
        return {"worker": worker}

    async def queues(self, call: Call) -> dict[str, Any]:
        """List the queues; with C{detail}, also how many tasks are in each state."""
        self._check("")
        return {"queues": await self._ask(list_queues(self._broker, bool(read_options(call).detail)))}


for name, description in DESCRIPTIONS.items():
    describe(getattr(Wire, name), description)


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
    Return the table of an application that serves queues. C{include} mounts it below any prefix.

    @param store: where tasks are kept; in memory if C{None}. It is opened at the first request and never
        closed: everything that was acknowledged is stored, however the process ends. After a reload, the new
        table for the same file or database takes the open store over.
    @param reactor: the reactor of the embedding program; the global one if C{None}.
    @param broker: a broker instead of a store; its owner starts and stops it.
    @param max_task: bytes; a larger task gets 413.
    @param max_queues: a request that would create more queues gets 403.
    """
    if reactor is None:
        from twisted.internet import reactor
    wire = Wire(broker or embedded_broker(reactor, store or MemoryStore(), max_queues), reactor, max_task)
    methods: tuple[str, ...] = ("GET", "POST")
    table = [(verb, methods) for verb in ("put", "get", "done/(?P<task_id>)", "config", *READING)]
    table += [(f"{verb}/(?P<task_id>)", methods) for verb in SHOWING]
    table += [(verb, ("POST",)) for verb in (*CHANGING, *(f"{verb}/(?P<task_id>)" for verb in SINGLE))]
    # These requests may wait at the server, so only their own timeout limits them.
    return (
        Route("/", wire.queues, timeout=0),
        *(
            Route(f"/(?P<worker>)/{path}{slash}", getattr(wire, path.partition("/")[0]), allowed, timeout=0)
            for path, allowed in table
            for slash in ("/", "")
        ),
    )
