"""What many requests ask of L{postgresql}, done in one transaction.

Strategy: the requests are sorted by queue. Each queue is locked, so that no other server is at it; what the
time has brought is done first (leases that have run out, delays that have ended); then all requests of a
kind go in one statement. Only the clock of the database is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from twisted_appserver.tqueue.interface import SHUTDOWN, LimitError
from twisted_appserver.tqueue.queues import Config, Task, lane, replace
from twisted_appserver.tqueue.stores.schema import BURIED, DELAYED, LEASED, READY, STATES

CHANNEL = "tqueue"
QUEUE_LOCK = 7_483_513  # the class of the advisory locks of queues
LINE = {"get": "getters", "put": "putters", "join": "joiners"}  # where a request of this verb waits
MAKING = frozenset(("put", "change"))  # verbs that make a queue which is not there
PLACES = {  # of a ready task in its queue, by the queue's kind
    "fifo": ("0", "''", "number"),
    "lifo": ("CASE WHEN deliveries > 0 THEN 0 ELSE 1 END", "''", "-number"),
    "priority": ("priority", '"order"', "number"),
}
FIELDS = (
    't.number, t.body, t.priority, t."order", t.deliveries, t.holder, '
    "coalesce(extract(epoch FROM t.at), 0)::float8"
)


class Request:
    """
    What somebody asks of the store, and what came of it.

    @ivar unserved: whether it cannot succeed yet.
    @ivar answer: else what it gets.
    @ivar over: whether nobody wants the answer any more. C{asked}: whether the store is at it.
    @ivar waits: whether it may wait. C{late}: whether its time is over.
    @ivar undo: of a release that undoes a delivery: when the lease was to end, so that it undoes no other.
    """

    __slots__ = (
        "answer", "asked", "changes", "count", "deferred", "delay", "delivery", "key", "late", "name",
        "number", "over", "seconds", "state", "task", "timer", "undo", "unserved", "verb", "waits",
    )  # fmt: skip
    deferred: Any

    def __init__(self, verb: str, name: str, **what: Any) -> None:
        self.verb, self.name = verb, name
        self.task: Any = what.get("task")
        self.key: str = what.get("key", "")
        self.delay: float = what.get("delay", 0.0)
        self.seconds: float | None = what.get("seconds")
        self.number: int = what.get("number", 0)
        self.delivery: int = what.get("delivery", 0)
        self.count: int = what.get("count", 0)
        self.changes: dict[str, Any] = what.get("changes", {})
        self.state: str = what.get("state", "ready")
        self.undo: float = what.get("undo", 0.0)
        self.answer: Any = None
        self.timer: Any = None
        self.unserved = True
        self.asked = self.over = self.waits = self.late = False

    def reply(self, answer: Any) -> None:
        self.unserved, self.answer = False, answer


def _task(row: Sequence[Any]) -> Task:
    number, body, priority, order, deliveries, holder, at = row[:7]
    return Task(number, bytes(body), priority, order, lease=at, deliveries=deliveries, holder=holder)


class Batch:
    """
    One transaction.

    @param ids: of queues by name, as far as they are known.
    @param server: names this server to others.
    @ivar signals: the lines, with the names of their queues, for which something has changed; the line C{all}
        stands for each, C{gone} says that the queue is.
    @ivar returned: how many leases ran out, by queue.
    """

    def __init__(self, connection: Any, ids: dict[str, int], server: str, max_queues: int) -> None:
        self._connection, self._ids, self._server, self._max_queues = connection, ids, server, max_queues
        self.signals: set[tuple[str, str]] = set()
        self.returned: Counter[str] = Counter()

    def run(self, requests: Sequence[Request], number: int) -> bool:
        """
        Do them; the caller commits.

        @param number: under which the transaction is noted in the database, so that it can be asked whether
            it was committed.
        @return: whether it has changed anything, and is noted.
        """
        by_queue: dict[str, list[Request]] = {}
        for request in requests:
            request.unserved = True
            by_queue.setdefault(request.name, []).append(request)
        for name in sorted(by_queue):  # in the same order everywhere, so that no two wait for each other
            _Queue(self, name).run(by_queue[name])
        texts = [f"{self._server} {line} {name}" for name, line in sorted(self.signals)]
        noted = self.ask(
            "WITH told AS (SELECT count(pg_notify(%s, text)) FROM unnest(%s::text[]) AS text) "
            "INSERT INTO tqueue.commits SELECT %s, %s FROM told "
            "WHERE pg_current_xact_id_if_assigned() IS NOT NULL RETURNING number",
            CHANNEL, texts, self._server, number,
        )  # fmt: skip
        return bool(noted)

    def ask(self, query: str, *values: Any) -> list[Any]:
        """The rows that a statement returns."""
        cursor = self._connection.execute(query, values, binary=True)
        return list(cursor.fetchall()) if cursor.description is not None else []

    def queue_id(self, name: str, make: bool) -> tuple[int, Config] | None:
        """The id and the options of a queue, which is locked from now on; C{None} if there is none."""
        while True:
            found = self._ids.get(name)
            if found is None:
                rows = self.ask("SELECT id FROM tqueue.queues WHERE name = %s", name)
                if not rows and not make:
                    return None
                found = rows[0][0] if rows else self._make(name)
            self.ask("SELECT pg_advisory_xact_lock(%s, %s)", QUEUE_LOCK, found)
            rows = self.ask("SELECT config FROM tqueue.queues WHERE id = %s", found)
            if rows:
                self._ids[name] = found
                return found, msgspec.json.decode(rows[0][0], type=Config)
            self._ids.pop(name, None)  # another server has deleted it

    def _make(self, name: str) -> int:
        (count,) = self.ask("SELECT count(*) FROM tqueue.queues")[0]
        if count >= self._max_queues:
            raise LimitError(f"there are {self._max_queues} queues already; delete some")
        config = msgspec.json.encode(Config()).decode()
        rows = self.ask(
            "INSERT INTO tqueue.queues (name, config) VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id", name, config,
        )  # fmt: skip
        return int(rows[0][0])

    def qsizes(self) -> dict[str, int]:
        """Of all queues."""
        rows = self.ask(
            "SELECT q.name, count(t.number) FROM tqueue.queues q LEFT JOIN tqueue.tasks t ON t.queue = q.id "
            "AND (t.state = 0 OR t.state IN (1, 2) AND t.at <= now()) GROUP BY q.name ORDER BY q.name"
        )
        return dict(rows)


class _Queue:
    """The requests of one queue. Those for which there is a method of their verb's name are done together."""

    def __init__(self, batch: Batch, name: str) -> None:
        self._batch, self._name, self._ask = batch, name, batch.ask
        self._id, self._config = 0, Config()

    def run(self, requests: Sequence[Request]) -> None:
        by_verb: dict[str, list[Request]] = {}
        for request in requests:
            by_verb.setdefault(request.verb, []).append(request)
        if "qsizes" in by_verb and not self._name:
            for request in by_verb.pop("qsizes"):
                request.reply(self._batch.qsizes())
            if not by_verb:
                return
        try:
            found = self._batch.queue_id(self._name, bool(MAKING & by_verb.keys()))
        except LimitError as error:
            for request in requests:
                request.reply(error)
            return
        if found is None:
            self._absent(requests)
            return
        self._id, self._config = found
        self._expire()
        # What makes room goes before what needs it, and puts before gets.
        for verb in sorted(by_verb, key=ORDER.index):
            getattr(self, verb)(by_verb[verb])

    def _absent(self, requests: Sequence[Request]) -> None:
        """Answer for a queue that is not there: like an empty one."""
        answers: dict[str, Any] = {
            "kick": 0, "join": 0, "purge": 0, "config": Config(), "peek": [], "qsizes": {self._name: 0},
            "stats": dict.fromkeys(STATES, 0),
        }  # fmt: skip
        for request in requests:
            if request.verb != "get":
                request.reply(answers.get(request.verb))

    def _signal(self, line: str) -> None:
        self._batch.signals.add((self._name, line))

    def _place(self) -> str:
        first, second, third = PLACES[self._config.kind]
        return f"first = {first}, second = {second}, third = {third}"

    def _expire(self) -> None:
        """Take back the leases that have run out, and what is due."""
        most = self._config.max_deliveries
        rows = self._ask(
            f"WITH due AS (SELECT number, state FROM tqueue.tasks WHERE queue = %s AND state IN (1, 2) "
            f"AND at <= statement_timestamp() ORDER BY at LIMIT 10000) "
            f"UPDATE tqueue.tasks t SET at = NULL, holder = '', {self._place_of('t')}, "
            f"state = CASE WHEN due.state = {LEASED} AND %s > 0 AND t.deliveries >= %s THEN {BURIED} "
            f"ELSE {READY} END "
            f"FROM due WHERE t.queue = %s AND t.number = due.number RETURNING due.state, t.state",
            self._id, most, most, self._id,
        )  # fmt: skip
        if rows:
            self._batch.returned[self._name] += sum(before == LEASED for before, _ in rows)
            self._signal("getters")

    def _place_of(self, table: str) -> str:
        """L{_place} where two tables are at hand."""
        made = self._place()
        for column in ("deliveries", "priority", '"order"', "number"):
            made = made.replace(column, f"{table}.{column}")
        return made

    def _settled(self) -> bool:
        """Whether every task is done."""
        return not self._ask("SELECT FROM tqueue.tasks WHERE queue = %s LIMIT 1", self._id)

    def _drained(self) -> bool:
        """Whether nothing more will come."""
        waits = "SELECT FROM tqueue.tasks WHERE queue = %s AND state IN (0, 1) LIMIT 1"
        return bool(self._config.shutdown) and not self._ask(waits, self._id)

    # ---- what is done for many at once ----

    def put(self, requests: Sequence[Request]) -> None:
        if self._config.shutdown:
            for request in requests:
                request.reply(SHUTDOWN)
            return
        fresh = self._not_repeated(requests)
        admitted = list(fresh)
        size = self._config.maxsize
        if size > 0:
            some = "SELECT FROM tqueue.tasks WHERE queue = %s AND state IN (0, 1) LIMIT %s"
            waits = f"SELECT count(*) FROM ({some}) t"
            admitted = admitted[: max(0, size - self._ask(waits, self._id, size)[0][0])]
        if admitted:
            self._insert(admitted)
        for request, first in self._repeats:
            if not first.unserved and isinstance(first.answer, Task):
                request.reply(Task(first.answer.number, b""))

    def _not_repeated(self, requests: Sequence[Request]) -> list[Request]:
        """Those whose key is not known; others are answered, or remembered with the first of the same key."""
        keyed = [request for request in requests if request.key]
        known: dict[str, int] = {}
        if keyed:
            rows = self._ask(
                "SELECT key, number FROM tqueue.keys WHERE queue = %s AND lane = ANY(%s::text[]) "
                "AND until > now()",
                self._id, [lane(request.key) for request in keyed],
            )  # fmt: skip
            known = dict(rows)
        fresh, firsts = list[Request](), dict[str, Request]()
        self._repeats: list[tuple[Request, Request]] = []
        for request in requests:
            if request.key and request.key in known:
                request.reply(Task(known[request.key], b""))
            elif request.key and request.key in firsts:
                self._repeats.append((request, firsts[request.key]))
            else:
                firsts.setdefault(request.key, request)
                fresh.append(request)
        return fresh

    def _insert(self, requests: Sequence[Request]) -> None:
        tasks = [request.task for request in requests]
        first, second, third = PLACES[self._config.kind]
        rows = self._ask(
            f"WITH new AS (SELECT nextval('tqueue.numbers') AS number, 0 AS deliveries, w.* FROM ("
            f'SELECT * FROM unnest(%s::bytea[], %s::float8[], %s::text[], %s::float8[]) WITH ORDINALITY '
            f'AS u(body, priority, "order", delay, place) ORDER BY place) w) '
            f"INSERT INTO tqueue.tasks "
            f'(queue, number, body, priority, "order", state, at, first, second, third) '
            f'SELECT %s, number, body, priority, "order", '
            f"CASE WHEN delay > 0 THEN {DELAYED} ELSE {READY} END, "
            f"CASE WHEN delay > 0 THEN statement_timestamp() + make_interval(secs => delay) END, "
            f"{first}, {second}, {third} FROM new RETURNING number",
            [task.body for task in tasks], [task.priority for task in tasks], [task.order for task in tasks],
            [request.delay for request in requests], self._id,
        )  # fmt: skip
        keys: dict[str, tuple[str, int]] = {}
        for request, number in zip(requests, sorted(row[0] for row in rows), strict=True):
            request.task.number = number
            request.reply(request.task)
            if request.key:
                keys[lane(request.key)] = (request.key, number)
        if keys:
            self._ask(
                "INSERT INTO tqueue.keys SELECT %s, lane, key, number, now() + make_interval(secs => %s) "
                "FROM unnest(%s::text[], %s::text[], %s::int8[]) AS u(lane, key, number) "
                "ON CONFLICT (queue, lane) DO UPDATE SET key = excluded.key, number = excluded.number, "
                "until = excluded.until",
                self._id, self._config.remember, list(keys), [key for key, _ in keys.values()],
                [number for _, number in keys.values()],
            )  # fmt: skip
        if any(not request.delay for request in requests):
            self._signal("getters")

    def get(self, requests: Sequence[Request]) -> None:
        wanting = self._not_held(requests)
        if not wanting:
            return
        rows = self._ask(
            f"WITH picked AS (SELECT number, row_number() OVER (ORDER BY first, second, third) AS place "
            f"FROM (SELECT number, first, second, third FROM tqueue.tasks WHERE queue = %s AND state = 0 "
            f"ORDER BY first, second, third LIMIT %s) p) "
            f"UPDATE tqueue.tasks t SET state = {LEASED}, deliveries = deliveries + 1, holder = w.holder, "
            f"at = statement_timestamp() + make_interval(secs => w.seconds) "
            f"FROM picked JOIN unnest(%s::float8[], %s::text[]) WITH ORDINALITY AS w(seconds, holder, place) "
            f"USING (place) WHERE t.queue = %s AND t.number = picked.number RETURNING {FIELDS}, place",
            self._id, len(wanting), [self._lease_of(request) for request in wanting],
            [request.key for request in wanting], self._id,
        )  # fmt: skip
        for row in rows:
            wanting[row[7] - 1].reply(_task(row))
        if len(rows) < len(wanting) and self._drained():
            self._signal("getters")
            for request in wanting:
                if request.unserved:
                    request.reply(SHUTDOWN)
        if rows and self._config.maxsize > 0:
            self._signal("putters")

    def _not_held(self, requests: Sequence[Request]) -> list[Request]:
        """
        Those that do not hold a task already; others, whose answers were lost, get theirs again. That begins
        a new lease, so that the first request, if it is only now found to be given up, undoes nothing.
        """
        keys = [request.key for request in requests if request.key]
        held = set()
        if keys:
            rows = self._ask(
                "SELECT holder FROM tqueue.tasks t WHERE queue = %s AND state = 2 AND holder <> '' "
                "AND holder = ANY(%s::text[])", self._id, keys,
            )  # fmt: skip
            held = {row[0] for row in rows}
        wanting = []
        for request in requests:
            if request.key in held:
                change = "at = statement_timestamp() + make_interval(secs => %s) "
                rows = self._ask(
                    f"UPDATE tqueue.tasks t SET {change} WHERE queue = %s AND state = 2 AND holder <> '' "
                    f"AND holder = %s RETURNING {FIELDS}", self._lease_of(request), self._id, request.key,
                )  # fmt: skip
                request.reply(_task(rows[0]))
            else:
                wanting.append(request)
        return wanting

    def _lease_of(self, request: Request) -> float:
        """In seconds."""
        return self._config.lease if request.seconds is None else request.seconds

    def done(self, requests: Sequence[Request]) -> None:
        rows = self._ask(
            f"DELETE FROM tqueue.tasks t USING unnest(%s::int8[], %s::int4[]) AS w(number, delivery) "
            f"WHERE t.queue = %s AND t.number = w.number AND t.state = {LEASED} "
            f"AND w.delivery IN (0, t.deliveries) RETURNING {FIELDS}",
            [request.number for request in requests], [request.delivery for request in requests], self._id,
        )  # fmt: skip
        tasks = {row[0]: _task(row) for row in rows}
        for request in requests:
            task = tasks.get(request.number)
            if task is not None and request.delivery in (0, task.deliveries):
                del tasks[request.number]
                request.reply(task)
            else:
                request.reply(None)
        if rows and self._settled():
            self._signal("joiners")

    # ---- what is done for each ----

    def _update(self, request: Request, change: str, *values: Any) -> Task | None:
        """Change a leased task."""
        rows = self._ask(
            f"UPDATE tqueue.tasks t SET {change} WHERE queue = %s AND number = %s AND state = {LEASED} "
            f"AND %s IN (0, deliveries) AND %s IN (0, extract(epoch FROM at)::float8) "
            f"RETURNING {FIELDS}, t.state",
            *values, self._id, request.number, request.delivery, request.undo,
        )  # fmt: skip
        if rows and rows[0][7] == READY:
            self._signal("getters")
        return _task(rows[0]) if rows else None

    def extend(self, requests: Sequence[Request]) -> None:
        for request in requests:
            change = "at = statement_timestamp() + make_interval(secs => %s)"
            request.reply(self._update(request, change, self._lease_of(request)))

    def release(self, requests: Sequence[Request]) -> None:
        most = self._config.max_deliveries
        for request in requests:
            change = (
                f"deliveries = deliveries - %s, holder = '', {self._place()}, state = CASE WHEN %s > 0 AND "
                f"deliveries - %s >= %s THEN {BURIED} WHEN %s > 0 THEN {DELAYED} ELSE {READY} END, "
                f"at = CASE WHEN %s > 0 THEN statement_timestamp() + make_interval(secs => %s) END"
            )
            undone = int(request.undo > 0)
            values = (undone, most, undone, most, *[request.delay] * 3)
            request.reply(self._update(request, change, *values))

    def bury(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.reply(self._update(request, f"state = {BURIED}, at = NULL, holder = ''"))

    def kick(self, requests: Sequence[Request]) -> None:
        for request in requests:
            numbers = self._ask(
                "SELECT number FROM tqueue.tasks WHERE queue = %s AND state = 3 ORDER BY number LIMIT %s",
                self._id, request.count,
            )  # fmt: skip
            self._ask(
                f"UPDATE tqueue.tasks SET state = {READY}, at = NULL, deliveries = 0 WHERE queue = %s "
                f"AND number = ANY(%s::int8[])", self._id, [row[0] for row in numbers],
            )  # fmt: skip
            self._replace()
            self._signal("getters")
            request.reply(len(numbers))

    def _replace(self) -> None:
        """Give every task that waits its place anew."""
        first, second, third = PLACES[self._config.kind]
        self._ask(
            f"UPDATE tqueue.tasks SET {self._place()} WHERE queue = %s AND state IN (0, 1) "
            f"AND (first, second, third) IS DISTINCT FROM (({first})::float8, {second}, {third})", self._id,
        )  # fmt: skip

    def join(self, requests: Sequence[Request]) -> None:
        if self._settled():
            for request in requests:
                request.reply(0)

    def purge(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.reply(self._drain())
        self._signal("all")

    def _drain(self) -> int:
        gone = self._ask(
            "DELETE FROM tqueue.tasks WHERE queue = %s AND state IN (0, 1) RETURNING number", self._id
        )
        return len(gone)

    def change(self, requests: Sequence[Request]) -> None:
        kind = self._config.kind
        for request in requests:
            try:
                self._config = replace(self._config, request.changes)
                request.reply(self._config)
            except ValueError as error:
                request.reply(error)
        if self._config.shutdown == "immediate":
            self._drain()
        text = msgspec.json.encode(self._config).decode()
        self._ask("UPDATE tqueue.queues SET config = %s WHERE id = %s", text, self._id)
        if self._config.kind != kind:
            self._replace()
        self._signal("all")

    def delete(self, requests: Sequence[Request]) -> None:
        for table, column in (("tasks", "queue"), ("keys", "queue"), ("queues", "id")):
            self._ask(f"DELETE FROM tqueue.{table} WHERE {column} = %s", self._id)
        self._signal("gone")
        for request in requests:
            request.reply(None)

    # ---- what is only looked at ----

    def config(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.reply(self._config)

    def peek(self, requests: Sequence[Request]) -> None:
        for request in requests:
            state = STATES[request.state]
            order = "first, second, third" if state == READY else "number"
            rows = self._ask(
                f"SELECT {FIELDS} FROM tqueue.tasks t WHERE queue = %s AND state = {state} "
                f"ORDER BY {order} LIMIT %s", self._id, request.count,
            )  # fmt: skip
            tasks = [_task(row) for row in rows]
            for task, row in zip(tasks, rows, strict=True):
                task.due, task.lease = row[6] * (state == DELAYED), row[6] * (state == LEASED)
            request.reply(tasks)

    def stats(self, requests: Sequence[Request]) -> None:
        rows = dict(
            self._ask("SELECT state, count(*) FROM tqueue.tasks WHERE queue = %s GROUP BY state", self._id)
        )
        for request in requests:
            request.reply({name: rows.get(state, 0) for name, state in STATES.items()})

    def qsizes(self, requests: Sequence[Request]) -> None:
        rows = self._ask("SELECT count(*) FROM tqueue.tasks WHERE queue = %s AND state = 0", self._id)
        for request in requests:
            request.reply({self._name: rows[0][0]})


ORDER = (
    "delete", "change", "done", "extend", "release", "bury", "kick", "purge", "put", "get", "join", "config",
    "peek", "stats", "qsizes",
)  # fmt: skip
