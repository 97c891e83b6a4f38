"""Tasks that are put in the transaction of a program, with each library for PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any
from unittest import SkipTest
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests.support.forks import ROOT
from tests.support.pages import DOCS, blocks
from tests.support.postgres import needs_postgresql, shared
from tests.support.queue_server import Server
from tests.support.slow import slow
from tests.support.transaction_programs import LIBRARIES, run_trial
from twisted_appserver import Retry
from twisted_appserver.tqueue import transactions
from twisted_appserver.tqueue.client import Queue

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WAIT = 30.0  # seconds
OPTIONS: tuple[dict[str, Any], ...] = (  # of one put each
    {},
    {"priority": -1.5, "order": "ä€"},
    {"priority": math.inf},
    {"priority": -math.inf},
    {"delay": 1000.0},
    {"delay": 53 * 7 * 86400.0},
    {"max_deliveries": 0},
    {"max_deliveries": 2**63 - 1},
    {"retry_first": 0.0, "retry_factor": 1.0, "retry_most": 0.0, "retry_jitter": 0.0},
    {"retry_first": 1.5, "retry_factor": 1000.0, "retry_most": 366 * 86400.0, "retry_jitter": 1.0},
    {"ttl": 3600.0},
    {"ttl": 3600.0, "delay": 60.0},
    {"group": "Gruppe ä"},
    {"group": "g", "delay": 1000.0, "ttl": 2000.0, "max_deliveries": 3},
    {"unique": "Schlüssel"},
    {"unique": "k", "unique_for": 3600.0},
    {"unique": "k", "unique_for": math.inf},
    {"traceparent": TRACE},
    {"traceparent": TRACE, "tracestate": "a=1,b=2"},
    {"traceparent": "00-invalid"},
    {"traceparent": TRACE + "-more"},
    {"traceparent": "01" + TRACE[2:] + "-more"},
    {"traceparent": "ff" + TRACE[2:]},
    {"traceparent": TRACE, "tracestate": "x" * 513},
)
STORED = """
SELECT priority, "order", state, deliveries, first, second, terms - 'ends', "group", has_terms, at - put_at,
    extract(epoch FROM put_at) + (terms ->> 'ttl')::float8 - (terms ->> 'ends')::float8 < 0.01, ARRAY(
        SELECT row(k.key, k.until = 'infinity', k.until > now() + interval '1 minute')::text
        FROM tqueue.taken k WHERE k.queue = q.id
    )
FROM tqueue.tasks t JOIN tqueue.queues q ON q.id = t.queue WHERE q.name = %s
"""
DJANGO = """
from django.conf import settings
settings.configure(DATABASES={databases})
from django.db import connections, transaction
from twisted_appserver.tqueue.transactions import put
with transaction.atomic(using="queues"):
    put(connections["queues"], "q", {item})
    with connections["queues"].cursor() as cursor:
        put(cursor, "other", {item})
    transaction.set_rollback(not {commit}, using="queues")
"""
CHANGING = ("task_id", "age", "put_at", "ends", "due")  # members of a description that depend on the time


@needs_postgresql
class TransactionTestCase(SynchronousTestCase):
    timeout = 180

    def setUp(self) -> None:
        self.url = shared().database()
        self.server = Server(self.url).start()
        self.addCleanup(self.server.kill)
        self.queue = Queue(0, self.server.url, "q")

    def ask(self, path: str, body: Any = None, headers: Any = ()) -> Any:
        """Make a request, and return the decoded response."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url + path, data, {"content-type": "application/json"})
        for name, value in headers:
            request.add_header(name, value)
        with urllib.request.urlopen(request, timeout=WAIT) as response:
            return json.load(response)


class PageTests(TransactionTestCase):
    def test_sql_of_the_documentation_puts_a_task(self) -> None:
        """In the transaction that inserts an order."""
        import psycopg

        sql = blocks(DOCS / "queues" / "transactions.md", "sql")[0]
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE orders (customer integer, amount integer)")
            connection.execute(sql)
            self.assertEqual(connection.execute("SELECT * FROM orders").fetchall(), [(7, 12)])
        task = self.ask(f"/invoices/get?timeout={WAIT}")["task"]
        self.assertEqual(task, {"customer": 7, "amount": 12})


class WireTests(TransactionTestCase):
    def test_every_option_is_that_of_a_put_on_the_wire(self) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for number, options in enumerate(OPTIONS):
                with self.subTest(options=options):
                    queues = f"wire{number}", f"sql{number}"
                    query = {name: value for name, value in options.items() if not name.startswith("trace")}
                    headers = [(name, value) for name, value in options.items() if name.startswith("trace")]
                    item = {"n": number, "ä": [1.5, None, {}]}
                    for queue in queues:
                        self.ask(f"/{queue}/config", {"kind": "priority"})
                    ids = [
                        self.ask(f"/{queues[0]}/put?{urlencode(query)}", item, headers)["task_id"],
                        self.put(connection, queues[1], item, options),
                    ]
                    self.check(connection, queues, ids, options)

    def put(self, connection: Any, queue: str, item: Any, options: dict[str, Any]) -> str:
        names = "".join(f', "{name}" => %s' for name in options)
        statement = f"SELECT tqueue.put(%s, %s{names})"
        (found,) = connection.execute(statement, (queue, json.dumps(item), *options.values())).fetchone()
        return str(found)

    def check(
        self, connection: Any, queues: tuple[str, str], ids: list[str], options: dict[str, Any]
    ) -> None:
        """Compare the tasks as they wait and as they are handed out, and the columns in the database."""
        shown = [self.ask(f"/{queue}/show/{each}") for queue, each in zip(queues, ids, strict=True)]
        stats = [self.ask(f"/{queue}/stats") for queue in queues]
        stored = [connection.execute(STORED, (queue,)).fetchall() for queue in queues]
        self.assertEqual(stored[0], stored[1])
        self.assertEqual(without(shown[0], queues[0]), without(shown[1], queues[1]))
        self.assertEqual(without(stats[0], queues[0]), without(stats[1], queues[1]))
        got = [self.ask(f"/{queue}/get?detail=1") for queue in queues]
        self.assertEqual(without(got[0], queues[0]), without(got[1], queues[1]))
        self.assertEqual([each["task_id"] for each in got], [""] * 2 if "delay" in options else ids)


def without(document: dict[str, Any], queue: str) -> dict[str, Any]:
    """Return a description without what depends on the time, and without the name of the queue."""
    inner = {name: value for name, value in document.items() if name not in CHANGING and name != "oldest"}
    assert inner.pop("worker") == queue
    return inner


class LibraryTests(TransactionTestCase):
    """Each library puts two tasks: one in a transaction that is rolled back, and one that is committed."""

    def run_cases(self, put: Callable[[Any, bool], None]) -> None:
        put({"n": 1}, False)
        put({"n": 2}, True)
        self.assertEqual(self.queue.get(timeout=WAIT), {"n": 2})
        self.assertEqual(self.queue.qsize(), 0)

    def test_psycopg(self) -> None:
        import psycopg
        from psycopg.rows import dict_row

        for row_factory in (psycopg.rows.tuple_row, dict_row):
            connection: Any = psycopg.connect(self.url, row_factory=row_factory)  # type: ignore[arg-type]
            self.addCleanup(connection.close)
            for place in (connection, connection.cursor()):

                def put(item: Any, commit: bool, place: Any = place, connection: Any = connection) -> None:
                    with finished(connection, commit):
                        found = transactions.put(place, "q", item)
                    self.assertEqual(self.ask(f"/q/show/{found}")["state"], "ready" if commit else "unknown")

                self.run_cases(put)

    def test_psycopg_in_a_coroutine(self) -> None:
        import psycopg

        async def put_both(item: Any, commit: bool) -> None:
            async with await psycopg.AsyncConnection.connect(self.url) as connection:
                await transactions.put_async(connection, "q", item)
                await (connection.commit() if commit else connection.rollback())
                async with connection.cursor() as cursor:
                    await transactions.put_async(cursor, "q", item)
                    await connection.rollback()
                self.assertRaises(TypeError, transactions.put, connection, "q", item)

        self.run_cases(lambda item, commit: asyncio.run(put_both(item, commit)))

    def test_sqlalchemy(self) -> None:
        sqlalchemy = needed("sqlalchemy")
        from sqlalchemy.orm import Session

        engine = sqlalchemy.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
        self.addCleanup(engine.dispose)
        for make in (engine.connect, lambda: Session(engine)):

            def put(item: Any, commit: bool, make: Any = make) -> None:
                with make() as place, finished(place, commit):
                    transactions.put(place, "q", item, priority=1.0, ttl=60)

            self.run_cases(put)

    def test_sqlalchemy_in_a_coroutine(self) -> None:
        needed("sqlalchemy")
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        async def put(item: Any, commit: bool) -> None:
            engine = create_async_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
            async with AsyncSession(engine) as session:
                await transactions.put_async(session, "q", item)
                await (session.commit() if commit else session.rollback())
                self.assertRaises(TypeError, transactions.put, session, "q", item)
            await engine.dispose()

        self.run_cases(lambda item, commit: asyncio.run(put(item, commit)))

    def test_django(self) -> None:
        """With C{transaction.atomic}, on a database that is not the default one."""
        needed("django")
        database = {"NAME": self.url.rpartition("/")[2], "USER": "postgres", "HOST": "127.0.0.1"}
        database |= {"ENGINE": "django.db.backends.postgresql", "PORT": shared().port}

        def put(item: Any, commit: bool) -> None:
            # Settings of Django are global, so it gets a process of its own.
            script = DJANGO.format(databases={"default": {}, "queues": database}, item=item, commit=commit)
            subprocess.run([sys.executable, "-c", script], check=True, timeout=60, cwd=ROOT)

        self.run_cases(put)

    def test_options(self) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            found = transactions.put(
                connection, "q", ("any", b"item"), priority=2.0, order="x", delay=5.0,
                retry=Retry(3, first=2.0), ttl=60, group="g", unique="u", unique_for=math.inf,
                traceparent=TRACE,
            )  # fmt: skip
            shown = self.ask(f"/q/show/{found}")
            self.assertEqual((shown["state"], shown["max_deliveries"], shown["group"]), ("delayed", 3, "g"))
            self.assertEqual((shown["unique"], shown["ttl"], shown["retry_first"]), ("u", 60, 2))
            transactions.put(connection, "p", ("any", b"item"))
            self.assertEqual(Queue(0, self.server.url, "p").get(timeout=WAIT), ("any", b"item"))

    def test_wrong_arguments(self) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for error, place, name, item, options in (
                (TypeError, object(), "q", {}, {}),
                (TypeError, connection, "q", object(), {}),
                (TypeError, connection, "q", {}, {"timeout": 5}),
                (ValueError, connection, "a/b", {}, {}),
                (ValueError, connection, "q", {}, {"unique_for": 5}),
                (psycopg.errors.InvalidParameterValue, connection, "q", {}, {"ttl": -1}),
            ):
                self.assertRaises(error, transactions.put, place, name, item, **options)


@contextmanager
def finished(connection: Any, commit: bool) -> Any:
    yield
    if commit:
        connection.commit()
    else:
        connection.rollback()


def needed(library: str) -> Any:
    try:
        return __import__(library)
    except ImportError as error:
        raise SkipTest(f"{library} is not installed: pip install '.[works-with]'") from error


@needs_postgresql
class FaultTests(SynchronousTestCase):
    @slow
    def test_exactly_the_committed_tasks_are_delivered(self) -> None:
        """Programs with three libraries put tasks, while they and the database are killed."""
        for library in LIBRARIES:
            needed(library)
        trial, committed = run_trial(1000, kills=12, pause=0.02)
        self.assertEqual(trial.wrong(committed), [])
        self.assertEqual(len(committed), 3 * 167)
