"""What many requests ask of L{postgresql}, done in one transaction.

Strategy: the requests are sorted by queue. The queues are locked, so that no other server is at them, and
what was asked of them meanwhile joins in. For each, what the time has brought is done, and then what is asked
most, all in one statement (L{turn}). What else is asked has statements of its own. Only the clock of the
database is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import Any

import msgspec

from twisted_appserver.queue.interface import SHUTDOWN, LimitError, ReusedError, StoreError
from twisted_appserver.queue.model import DEFAULT, Config, Task, digest, lane, lane_of, read_config, replace
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.postgresql.schema import (
    BURIED,
    COUNTS,
    DELAYED,
    LEASED,
    QUEUE_LOCK,
    READY,
    STATES,
)
from twisted_appserver.queue.postgresql.statements import CHANNEL, PLACES, TURN
from twisted_appserver.queue.postgresql.watch import LONG, PROMPT, Watch

MAKING = frozenset(("put", "change"))  # verbs that make a queue which is not there
USUAL = msgspec.json.encode(DEFAULT).decode()  # the stored options of a queue without any of its own
REMEMBERED = "until > statement_timestamp()"
FIELDS = (
    't.number, t.body, t.priority, t."order", t.deliveries, t.holder, '
    "coalesce(extract(epoch FROM t.at), 0)::float8"
)


def _task(row: Sequence[Any]) -> Task:
    number, body, priority, order, deliveries, holder, at = row[:7]
    return Task(number, body, priority, order, lease=at, deliveries=deliveries, holder=holder)


def _repeated(request: Request, number: int, known: bytes) -> Task | ReusedError:
    """The answer to a put whose key was used before, for a body with this digest; empty if not known."""
    if known and known != digest(request.task.body):
        return ReusedError(f"the key {request.key!r} was used for a request with another body")
    return Task(number, b"")


class Known:
    """
    What is known of a queue.

    @ivar lowest: no task has a lower number.
    @ivar since: no lease and no delay ends before this time of the database, in seconds.
    """

    __slots__ = "lowest", "number", "since"

    def __init__(self, number: int) -> None:
        self.number, self.lowest, self.since = number, 0, 0.0


class Batch:
    """
    One transaction.

    @param known: of queues, by name.
    @param server: names this server to others.
    @param watch: cuts the connection if an answer does not come.
    @ivar signals: the lines, with the names of their queues, for which something has changed; the line C{all}
        stands for each, C{gone} says that the queue is.
    @ivar returned: how many leases ran out, by queue.
    """

    def __init__(
        self, connection: Any, known: dict[str, Known], server: str, max_queues: int, watch: Watch
    ) -> None:
        self._connection, self._known, self._max_queues = connection, known, max_queues
        self.server, self._watch = server, watch
        self.signals: set[tuple[str, str]] = set()
        self.returned: Counter[str] = Counter()

    def run(
        self, requests: list[Request], more: Callable[[Container[str]], list[Request]], stamp: int
    ) -> None:
        """
        Do them.

        @param requests: those that were done besides are added to it.
        @param more: gives what has come for these queues meanwhile, when they are locked.
        @param stamp: the number under which the transaction is noted in the database, if it changes anything,
            so that it can be asked whether it was committed.
        """
        by_queue = _grouped("name", requests)
        for request in by_queue.pop("", ()):
            request.reply(self._qsizes())
        found = {name: known for name, each in by_queue.items() if (known := self._find(name, each))}
        if not found:
            if self.signals:
                self._tell_gone()
            return
        self._begin([known.number for known in found.values()])
        late = more(found)
        requests += late
        for request in late:
            by_queue[request.name].append(request)
        queues = [_Queue(self, known, name, by_queue[name]) for name, known in found.items()]
        if len(queues) == 1 and not (queues[0].other or self.signals):
            queues[0].turn(stamp)
        else:
            for queue in queues:
                queue.turn()
                queue.rest()
            self._note(stamp)
        self._connection.commit()

    def _begin(self, numbers: Sequence[int]) -> None:
        """Begin the transaction and lock these queues, in one message, in the same order everywhere."""
        lock = f"SELECT pg_advisory_xact_lock({QUEUE_LOCK}, n) FROM unnest(ARRAY{sorted(numbers)}) AS n"
        self._watch.within(PROMPT)
        self._connection.execute(f"BEGIN; {lock}", prepare=False)
        self._watch.within(LONG)

    def _tell_gone(self) -> None:
        """Tell the other servers of deleted queues that had nothing but those who wait."""
        self.ask(
            "WITH noted AS (INSERT INTO tqueue.gone (name) SELECT unnest(%s::text[]) RETURNING 1) "
            "SELECT pg_notify(%s, text) FROM unnest(%s::text[]) AS text, (SELECT count(*) FROM noted) AS n",
            [name for name, _ in self.signals], CHANNEL, self._texts,
        )  # fmt: skip

    def _note(self, stamp: int) -> None:
        """Tell the other servers, and note the transaction."""
        self.ask(
            "WITH told AS (SELECT count(pg_notify(%s, text)) FROM unnest(%s::text[]) AS text) "
            "INSERT INTO tqueue.commits SELECT %s, %s FROM told "
            "WHERE pg_current_xact_id_if_assigned() IS NOT NULL",
            CHANNEL, self._texts, self.server, stamp,
        )  # fmt: skip

    @property
    def _texts(self) -> list[str]:
        """What the other servers are told."""
        return [f"{self.server} {line} {name}" for name, line in sorted(self.signals)]

    def ask(self, query: str, *values: Any) -> list[Any]:
        """The rows that a statement returns."""
        self._watch.within(LONG)
        cursor = self._connection.execute(query, values, binary=True)
        return list(cursor.fetchall()) if cursor.description is not None else []

    def _find(self, name: str, requests: Sequence[Request]) -> Known | None:
        """The queue; C{None} where there is none, and the requests are answered."""
        if name not in self._known:
            rows = self.ask("SELECT id FROM tqueue.queues WHERE name = %s", name)
            verbs = {request.verb for request in requests}
            if not rows and not verbs & MAKING:
                _absent(name, requests)
                if "delete" in verbs:  # of a queue that had nothing but those who wait
                    self.signals.add((name, "gone"))
                return None
            try:
                self._known[name] = Known(rows[0][0] if rows else self._make(name))
            except LimitError as error:
                _absent(name, requests)
                for request in requests:
                    if request.verb in MAKING:
                        request.reply(error)
                return None
        return self._known[name]

    def _make(self, name: str) -> int:
        (count,) = self.ask("SELECT count(*) FROM tqueue.queues")[0]
        if count >= self._max_queues:
            (count,) = self.ask(f"SELECT count(*) FROM tqueue.queues q WHERE {COUNTS}", USUAL)[0]
        if count >= self._max_queues:
            raise LimitError(f"there are {self._max_queues} queues already; delete some")
        rows = self.ask(
            "INSERT INTO tqueue.queues (name, config) VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id", name, USUAL,
        )  # fmt: skip
        return int(rows[0][0])

    def _qsizes(self) -> dict[str, int]:
        """Of all queues."""
        rows = self.ask(
            "SELECT q.name, count(t.number) FROM tqueue.queues q LEFT JOIN tqueue.tasks t ON t.queue = q.id "
            f"AND (t.state = 0 OR t.state IN (1, 2) AND t.at <= now()) WHERE {COUNTS} "
            "GROUP BY q.name ORDER BY q.name", USUAL,
        )  # fmt: skip
        return dict(rows)


def _absent(name: str, requests: Sequence[Request]) -> None:
    """Answer for a queue that is not there: like an empty one."""
    answers: dict[str, Any] = {
        "kick": 0, "join": (0, 0), "purge": 0, "config": Config(), "peek": [], "qsizes": {name: 0},
        "stats": dict.fromkeys(STATES, 0),
    }  # fmt: skip
    for request in requests:
        if request.verb != "get":
            request.reply(answers.get(request.verb))


class _Queue:
    """
    The requests of one queue.

    @ivar other: whether there is something to do that L{turn} does not.
    """

    def __init__(self, batch: Batch, known: Known, name: str, requests: Sequence[Request]) -> None:
        self._batch, self._known, self._name, self._ask = batch, known, name, batch.ask
        self._id = known.number
        by_verb = _grouped("verb", [request for request in requests if not request.look])
        self._done, self._put, self._get = (by_verb.pop(verb, []) for verb in ("done", "put", "get"))
        if looks := [request for request in requests if request.look]:
            by_verb["look"] = looks
        self.other = by_verb

    def turn(self, stamp: int = 0) -> None:
        """Do what the time has brought, and what is asked most."""
        done, get = self._done, self._get
        put, repeats = _firsts(self._put)
        keys, holders = _any([request.key for request in put]), _any([request.key for request in get])
        rows = self._ask(
            TURN, self._id, self._batch.server, stamp, self._known.lowest, self._known.since,
            [request.number for request in done], _any([request.delivery for request in done]),
            [request.task.body for request in put], _any([request.task.priority for request in put]),
            _any([request.task.order for request in put]), _any([request.delay for request in put]),
            keys, list(map(lane, keys)), [digest(request.task.body) for request in put] if keys else [],
            len(get), _any([request.seconds for request in get]), holders,
        )  # fmt: skip
        gone, numbers = dict[int, Task](), list[int]()
        for what, place, number, *task in rows:
            if what in ("get", "again"):
                get[place - 1].again = what == "again"
                get[place - 1].reply(_task((number, *task)))
            elif what == "put":
                numbers.append(number)
            elif what == "done":
                gone[number] = _task((number, *task))
            else:
                self._heard(what, place, number, task, put)
        for request, number in zip([each for each in put if each.unserved], numbers, strict=False):
            request.task.number = number
            request.reply(request.task)
        for request, first in repeats:
            if not first.unserved:
                answer = first.answer
                known = digest(first.task.body)
                request.reply(
                    _repeated(request, answer.number, known) if isinstance(answer, Task) else answer
                )
        for request in done:
            task = gone.get(request.number)
            fits = task is not None and request.delivery in (0, task.deliveries)
            request.reply(gone.pop(request.number) if fits else None)

    def _heard(self, what: str, place: int, number: int, task: Sequence[Any], put: Sequence[Request]) -> None:
        """What else L{turn} answers."""
        body, line, since = task[0], task[2], task[5]
        if what == "lowest":
            self._known.lowest = number
        elif what == "since":
            self._known.since = since
        elif what == "line":
            self._batch.signals.add((self._name, line))
        elif what == "returned":
            self._batch.returned[self._name] += number
        elif what == "known":
            put[place - 1].reply(_repeated(put[place - 1], number, body))
        else:  # shut or drained
            for request in put if what == "shut" else self._get:
                if request.unserved:
                    request.reply(SHUTDOWN)

    def rest(self) -> None:
        if self.other:
            (text,) = self._ask("SELECT config FROM tqueue.queues WHERE id = %s", self._id)[0]
            try:
                self._config = read_config(self._name, text)
            except ValueError as error:
                raise StoreError(str(error)) from None
        for verb in sorted(self.other, key=ORDER.index):  # what makes room, or work, goes first
            getattr(self, verb)(self.other[verb])

    def _signal(self, line: str) -> None:
        self._batch.signals.add((self._name, line))

    def _place(self) -> str:
        first, second, third = PLACES[self._config.kind]
        return f"first = {first}, second = {second}, third = {third}"

    def _settled(self) -> bool:
        """Whether no task is left to be done."""
        some = f"SELECT FROM tqueue.tasks WHERE queue = %s AND number >= %s AND state + 0 <> {BURIED} LIMIT 1"
        return not self._ask(some, self._id, self._known.lowest)

    def _known_key(self, request: Request, body: bytes) -> bool:
        """Answer a request that was made before, with the same key."""
        if not request.key:
            return False
        rows = self._ask(
            "SELECT number, digest FROM tqueue.keys WHERE queue = %s AND lane = %s AND key = %s "
            f"AND {REMEMBERED}", self._id, lane_of(request.verb, request.key), request.key,
        )  # fmt: skip
        for number, known in rows:
            reused = ReusedError(f"the key {request.key!r} was used for a request with another body")
            request.reply(number if known == digest(body) else reused)
        return bool(rows)

    def _remember(self, request: Request, number: int, body: bytes) -> None:
        if request.key:
            self._ask(
                "INSERT INTO tqueue.keys VALUES (%s, %s, %s, %s, statement_timestamp() + "
                "make_interval(secs => %s), %b) ON CONFLICT (queue, lane) DO UPDATE SET key = excluded.key, "
                "number = excluded.number, until = excluded.until, digest = excluded.digest",
                self._id, lane_of(request.verb, request.key), request.key, number, self._config.remember,
                digest(body),
            )  # fmt: skip
        request.reply(number)

    def _lease_of(self, request: Request) -> float:
        """In seconds."""
        return self._config.lease if request.seconds is None else request.seconds

    # ---- what is done for each ----

    def _update(self, request: Request, change: str, *values: Any) -> Task | None:
        """Change a leased task, which is looked up by its number (so "+ 0") and not among all leased ones."""
        rows = self._ask(
            f"UPDATE tqueue.tasks t SET {change} WHERE queue = %s AND number = %s AND state + 0 = {LEASED} "
            f"AND %s IN (0, deliveries) AND %s IN (0, extract(epoch FROM at)::float8) "
            f"RETURNING {FIELDS}, t.state",
            *values, self._id, request.number, request.delivery, request.lease,
        )  # fmt: skip
        if rows and rows[0][7] in (READY, BURIED):
            self._signal("getters" if rows[0][7] == READY else "joiners")
        return _task(rows[0]) if rows else None

    def extend(self, requests: Sequence[Request]) -> None:
        for request in requests:
            change = "at = statement_timestamp() + make_interval(secs => %s)"
            request.reply(self._update(request, change, self._lease_of(request)))

    def release(self, requests: Sequence[Request]) -> None:
        most = self._config.max_deliveries
        for request in requests:
            change = (
                f"holder = '', {self._place()}, state = CASE WHEN %s > 0 AND deliveries >= %s THEN {BURIED} "
                f"WHEN %s > 0 THEN {DELAYED} ELSE {READY} END, "
                f"at = CASE WHEN %s > 0 THEN statement_timestamp() + make_interval(secs => %s) END"
            )
            request.reply(self._update(request, change, most, most, *[request.delay] * 3))

    def bury(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.reply(self._update(request, f"state = {BURIED}, at = NULL, holder = ''"))

    def look(self, requests: Sequence[Request]) -> None:
        """What a key already stands for, where a request is repeated whose answer was lost."""
        for request in requests:
            if request.verb == "get":
                rows = self._ask(
                    "UPDATE tqueue.tasks t SET at = statement_timestamp() + make_interval(secs => %s) "
                    f"WHERE queue = %s AND holder <> '' AND holder = %s RETURNING {FIELDS}",
                    self._lease_of(request), self._id, request.key,
                )  # fmt: skip
                if rows:
                    request.again = True
                    request.reply(_task(rows[0]))
                continue
            rows = self._ask(
                "SELECT number, digest FROM tqueue.keys WHERE queue = %s AND lane = %s AND key = %s "
                f"AND {REMEMBERED}", self._id, lane(request.key), request.key,
            )  # fmt: skip
            if rows:
                request.reply(_repeated(request, *rows[0]))

    def kick(self, requests: Sequence[Request]) -> None:
        for request in requests:
            body = b"%d" % request.count
            if self._known_key(request, body):
                continue
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
            self._remember(request, len(numbers), body)

    def _replace(self) -> None:
        """Give every task that waits its place anew."""
        first, second, third = PLACES[self._config.kind]
        self._ask(
            f"UPDATE tqueue.tasks SET {self._place()} WHERE queue = %s AND state IN (0, 1) "
            f"AND (first, second, third) IS DISTINCT FROM (({first})::float8, {second}, {third})", self._id,
        )  # fmt: skip

    def join(self, requests: Sequence[Request]) -> None:
        if self._settled():
            buried = f"SELECT count(*) FROM tqueue.tasks WHERE queue = %s AND state = {BURIED}"
            answer = 0, self._ask(buried, self._id)[0][0]
            for request in requests:
                request.reply(answer)

    def purge(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if not self._known_key(request, b""):
                self._remember(request, self._drain(), b"")
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
        self._ask("INSERT INTO tqueue.gone (name) VALUES (%s)", self._name)
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


def _any(values: list[Any]) -> list[Any]:
    """These; none of them where all are 0, empty or C{None}."""
    return values if any(values) else []


def _grouped(attribute: str, requests: Sequence[Request]) -> dict[str, list[Request]]:
    """Those that have it in common, by its value."""
    groups: dict[str, list[Request]] = {}
    for request in requests:
        groups.setdefault(getattr(request, attribute), []).append(request)
    return groups


def _firsts(puts: Sequence[Request]) -> tuple[list[Request], list[tuple[Request, Request]]]:
    """Those that are the first of their key, and the others, each with the first of its own."""
    firsts, fresh, repeats = dict[str, Request](), list[Request](), list[tuple[Request, Request]]()
    for request in puts:
        first = firsts.setdefault(request.key, request) if request.key else request
        if first is request:
            fresh.append(request)
        else:
            repeats.append((request, first))
    return fresh, repeats


ORDER = (
    "look", "change", "extend", "release", "bury", "kick", "purge", "join", "config", "peek", "stats",
    "qsizes", "delete",
)  # fmt: skip
