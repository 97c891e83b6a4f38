"""
Small functions that use common libraries and idioms, one function for each.

This module is an application: servers import its C{url_patterns}. Optional libraries are imported inside the
functions, so that the other functions work without them.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import dataclasses
import decimal
import enum
import locale
import logging
import logging.config
import multiprocessing
import os
import queue
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from twisted_appserver import Call, Reply

THREADS, WORKERS, REACTOR, DASK = "threads", "workers", "reactor", "dask"
BLOCKING = (THREADS, WORKERS, DASK)  # the places where a plain function may run


class Use(NamedTuple):
    """
    A library or an idiom, with a function that uses it.

    @ivar group: the heading on the page.
    @ivar title: its name on the page.
    @ivar function: the function that uses it.
    @ivar expected: the JSON of the response; a list of lines for a generator; bytes for a body that is not
        JSON.
    @ivar needs: the optional modules that the function imports.
    @ivar where: the places where the function is called.
    @ivar fails: the places where it fails, each with the part of the message that says what to do.
    @ivar log: text that the server must have logged afterwards.
    """

    group: str
    title: str
    function: Callable[..., Any]
    expected: Any
    needs: tuple[str, ...] = ()
    where: tuple[str, ...] = BLOCKING
    fails: dict[str, str] = {}
    log: str = ""

    @property
    def note(self) -> str:
        """The note on the page."""
        return " ".join((self.function.__doc__ or "").split())


USES: list[Use] = []


def use(group: str, title: str, expected: Any, *needs: str, **more: Any) -> Callable[[Any], Any]:
    """Add a function to the table."""

    def add(function: Any) -> Any:
        USES.append(Use(group, title, function, expected, needs, **more))
        return function

    return add


# ---- processes and threads ----

PROCESSES = "Processes and threads"
DAEMONIC = {DASK: "DASK_DISTRIBUTED__WORKER__DAEMON=False"}


_one_process = threading.Lock()


def square(n: int) -> int:
    return n * n


def _pool(method: str) -> dict[str, Any]:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return {"squares": pool.map(square, [1, 2, 3])}


@use(PROCESSES, "`multiprocessing.Pool`, started with fork", {"squares": [1, 4, 9]}, fails=DAEMONIC)
def pool_fork() -> dict[str, Any]:
    """Forking a process that has threads is risky in any program; prefer `spawn`."""
    return _pool("fork")


@use(PROCESSES, "`multiprocessing.Pool`, started with spawn", {"squares": [1, 4, 9]}, fails=DAEMONIC)
def pool_spawn() -> dict[str, Any]:
    """The functions passed to the pool must be importable, as in any program."""
    return _pool("spawn")


@use(PROCESSES, "`multiprocessing.Pool`, started with forkserver", {"squares": [1, 4, 9]}, fails=DAEMONIC)
def pool_forkserver() -> dict[str, Any]:
    """The first call starts the fork server process, and later calls reuse it."""
    return _pool("forkserver")


@use(PROCESSES, "`multiprocessing.Process`, terminated", {"exitcode": -15}, fails=DAEMONIC)
def process_terminated() -> dict[str, Any]:
    """
    Children get default signal handlers, so `terminate()` ends them at once. In threads, use a lock from
    `start()` to `exitcode`: Python's `Process.start()` also reaps the children of other threads, and may lose
    their exit codes.
    """
    with _one_process:
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(30)
        return {"exitcode": child.exitcode}


@use(PROCESSES, "`concurrent.futures.ProcessPoolExecutor`", {"squares": [1, 4, 9]}, fails=DAEMONIC)
def process_pool_executor() -> dict[str, Any]:
    """Use one per call, closed by `with`, or one at module level."""
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        return {"squares": list(pool.map(square, [1, 2, 3]))}


@cache
def _kept_pool() -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(1)


@use(PROCESSES, "`ProcessPoolExecutor` kept for all calls", {"square": 49}, fails=DAEMONIC)
def process_pool_kept() -> dict[str, Any]:
    """Its processes end with the server, because the server runs `atexit` functions."""
    return {"square": _kept_pool().submit(square, 7).result(30)}


@use(PROCESSES, "`concurrent.futures.ThreadPoolExecutor`", {"squares": [1, 4, 9]})
def thread_pool_executor() -> dict[str, Any]:
    """Its threads do not see context variables unless you copy the context."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return {"squares": list(pool.map(square, [1, 2, 3]))}


@use(PROCESSES, "`threading.Thread` and `queue.Queue`", {"got": 1})
def thread_and_queue() -> dict[str, Any]:
    """Join your own threads before the function returns."""
    line: queue.Queue[int] = queue.Queue()
    thread = threading.Thread(target=line.put, args=(1,))
    thread.start()
    thread.join()
    return {"got": line.get()}


@use(PROCESSES, "`subprocess.run`", {"out": "hello\n", "status": 0})
def subprocess_run() -> dict[str, Any]:
    """The program inherits neither sockets nor signal handlers."""
    done = subprocess.run([sys.executable, "-c", "print('hello')"], capture_output=True, text=True)
    return {"out": done.stdout, "status": done.returncode}


@use(PROCESSES, "`subprocess.Popen`, interrupted", {"status": -2})
def subprocess_interrupted() -> dict[str, Any]:
    """Signals reach the program as if a shell had started it."""
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        return {"status": child.wait(30)}


@use(PROCESSES, "`os.fork`", {"status": 3})
def forked() -> dict[str, Any]:
    """A child process that returns from the function or raises ends there; it never serves requests."""
    child = os.fork()
    if not child:
        os._exit(3)
    return {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


@use(PROCESSES, "`os.fork` in a generator", [{"n": 0}, {"n": 1, "status": 0}])
def forked_in_generator() -> Iterator[dict[str, Any]]:
    """The child process ends at the next `yield` or at the end of the generator."""
    yield {"n": 0}
    child = os.fork()
    if not child:
        yield {"n": -1}
    yield {"n": 1, "status": os.waitpid(child, 0)[1]}


@use(PROCESSES, "`os.fork` before the first item of a generator", [{"status": 0}])
def forked_before_items() -> Iterator[dict[str, Any]]:
    """The child process ends at the first `yield`."""
    child = os.fork()
    if not child:
        yield {"n": -1}
    yield {"status": os.waitpid(child, 0)[1]}


@use(
    PROCESSES,
    "`signal.signal`",
    {"before": "SIG_DFL"},
    fails={THREADS: "--type forked", DASK: "--type forked"},
)
def signal_handler() -> dict[str, Any]:
    """Works in worker processes only: Python requires the main thread. The call resets it at its end."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    return {"before": signal.Handlers(before).name if before in set(signal.Handlers) else repr(before)}


# ---- asyncio ----

ASYNCIO = "asyncio"


async def _both() -> list[int]:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.to_thread(square, n)) for n in (1, 2)]
    return [task.result() for task in tasks]


@use(ASYNCIO, "`asyncio.run` in a plain function", {"squares": [1, 4]})
def asyncio_run() -> dict[str, Any]:
    """`TaskGroup`, `timeout` and `to_thread` work too. Each call has its own event loop."""
    return {"squares": asyncio.run(_both())}


@use(ASYNCIO, "`async def` that awaits a coroutine", {"n": 4}, where=(REACTOR,))
async def coroutine() -> dict[str, Any]:
    """It runs on the reactor."""

    async def four() -> int:
        return square(2)

    return {"n": await four()}


@use(ASYNCIO, "`async def` that awaits a Deferred", {"n": 4}, where=(REACTOR,))
async def deferred() -> dict[str, Any]:
    """Any Twisted API can be awaited."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    return {"n": await deferLater(reactor, 0.01, square, 2)}


@use(ASYNCIO, "`asyncio.timeout`", {"timed_out": 2}, where=(REACTOR,))
async def asyncio_timeout() -> dict[str, Any]:
    """It ends the wait for a Deferred too, which is cancelled."""
    from twisted.internet.defer import Deferred

    timed_out = 0
    for awaited in (asyncio.sleep(60), Deferred()):
        try:
            async with asyncio.timeout(0.01):
                await awaited
        except TimeoutError:
            timed_out += 1
    return {"timed_out": timed_out}


@use(ASYNCIO, "`TaskGroup`, `gather` and `to_thread`", {"squares": [1, 4, 9]}, where=(REACTOR,))
async def asyncio_tasks() -> dict[str, Any]:
    """To await a Deferred in a task that you create, write `await deferred.asFuture(loop)`."""
    squares = await _both()
    return {"squares": [*squares, *await asyncio.gather(asyncio.sleep(0.001, square(3)))]}


@use(ASYNCIO, "Deferreds and asyncio in one function", {"found": ["Twisted", "asyncio"]}, where=(REACTOR,))
async def deferred_and_asyncio() -> dict[str, Any]:
    """Await each of them directly."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(0.01, "asyncio"))
        found = await deferLater(reactor, 0.01, lambda: "Twisted")
    return {"found": [found, task.result()]}


@use(ASYNCIO, "an asynchronous generator", [{"n": 0}, {"n": 1}], where=(REACTOR,))
async def asyncio_stream() -> AsyncIterator[dict[str, Any]]:
    """It may await asyncio and Deferreds between two items."""
    for n in range(2):
        await asyncio.sleep(0.001)
        yield {"n": n}


@use(ASYNCIO, "a function that returns a future", {"n": 4}, where=(REACTOR,))
def asyncio_future() -> asyncio.Future[dict[str, Any]]:
    """The annotation makes it run on the reactor. Without one, use `Route(executor="inline")`."""
    return asyncio.ensure_future(asyncio.sleep(0.001, {"n": 4}))


@use(
    ASYNCIO, "`asyncio.run` in an `async def`", {"n": 4}, where=(REACTOR,), fails={REACTOR: "await it"}
)  # fmt: skip
async def asyncio_run_on_reactor() -> dict[str, Any]:
    """The function runs in an event loop already."""

    async def four() -> int:
        return 4

    coroutine = four()
    try:
        return {"n": asyncio.run(coroutine)}
    finally:
        coroutine.close()


# ---- databases ----

DATABASES = "Databases"


def _fill(connection: sqlite3.Connection) -> list[int]:
    connection.execute("CREATE TABLE numbers (n INTEGER)")
    connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(3)])
    return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


@use(DATABASES, "`sqlite3`, a connection for each call", {"numbers": [0, 1, 2]})
def sqlite() -> dict[str, Any]:
    """The simplest way; opening a database file takes about 50 microseconds."""
    with sqlite3.connect(":memory:") as connection:
        numbers = _fill(connection)
    connection.close()
    return {"numbers": numbers}


LOCAL = threading.local()


@use(DATABASES, "`sqlite3`, a connection for each thread", {"one": 1})
def sqlite_local() -> dict[str, Any]:
    """Keep it in `threading.local()`. A worker process has one thread."""
    if not hasattr(LOCAL, "connection"):
        LOCAL.connection = sqlite3.connect(":memory:")
    return {"one": LOCAL.connection.execute("SELECT 1").fetchone()[0]}


SHARED = sqlite3.connect(":memory:")
ANY_THREAD = dict.fromkeys((THREADS, DASK), "check_same_thread=False")


@use(DATABASES, "`sqlite3`, one connection in a global", {"one": 1}, fails=ANY_THREAD)
def sqlite_global() -> dict[str, Any]:
    """Works in worker processes only, unless you pass `check_same_thread=False` and use a lock."""
    return {"one": SHARED.execute("SELECT 1").fetchone()[0]}


@lru_cache
def _cached(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, check_same_thread=False)


LOCK = threading.Lock()


@use(DATABASES, "`lru_cache` that holds a connection", {"one": 1})
def cached_connection() -> dict[str, Any]:
    """Threads share the cache, so pass `check_same_thread=False` and use a lock."""
    with LOCK:
        return {"one": _cached(":memory:").execute("SELECT 1").fetchone()[0]}


@use(DATABASES, "`sqlite3` in a generator", [{"n": n} for n in range(50)])
def sqlite_generator() -> Iterator[dict[str, int]]:
    """
    Pass `check_same_thread=False`, because the steps of a generator may run in several threads, one after the
    other.
    """
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        connection.execute("CREATE TABLE numbers (n INTEGER)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(50)])
        for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n"):
            yield {"n": n}
    finally:
        connection.close()


@cache
def _engine() -> Any:
    from sqlalchemy import create_engine

    return create_engine("sqlite://")


@use(DATABASES, "SQLAlchemy, one engine for all calls", {"one": 1}, "sqlalchemy")
def sqlalchemy_core() -> dict[str, Any]:
    """The engine is shared; each call takes a connection from its pool."""
    from sqlalchemy import text

    with _engine().connect() as connection:
        return {"one": connection.execute(text("SELECT 1")).scalar_one()}


@use(DATABASES, "SQLAlchemy's ORM", {"names": ["ann", "bob"]}, "sqlalchemy")
def sqlalchemy_orm() -> dict[str, Any]:
    """Create a `Session` for each call."""
    from sqlalchemy import Integer, String, create_engine, select
    from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
    from sqlalchemy.pool import StaticPool

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String)

    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Person(name="ann"), Person(name="bob")])
        session.commit()
        names = list(session.scalars(select(Person.name).order_by(Person.name)))
    engine.dispose()
    return {"names": names}


@cache
def _django() -> Any:
    import django
    from django.conf import settings
    from django.db import models

    folder = tempfile.mkdtemp(prefix="works-with-")
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(folder, f"{os.getpid()}.db")}
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[], USE_TZ=True)
    django.setup()

    class Person(models.Model):
        name = models.CharField(max_length=20)

        class Meta:
            app_label = "works_with"

    from django.db import connection

    with connection.schema_editor() as editor:
        editor.create_model(Person)
    Person.objects.create(name="ann")
    return Person


DJANGO = threading.Lock()


@use(
    DATABASES, "SQLAlchemy's asyncio extension", {"one": 1}, "sqlalchemy", "aiosqlite", "greenlet",
    where=(REACTOR,),
)  # fmt: skip
async def sqlalchemy_async() -> dict[str, Any]:
    """Create the engine once, in a lifespan or at the first call; here with aiosqlite."""
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    engine = create_async_engine("sqlite+aiosqlite://")
    try:
        async with AsyncSession(engine) as session, session.begin():
            return {"one": (await session.execute(text("SELECT 1"))).scalar_one()}
    finally:
        await engine.dispose()


@use(DATABASES, "Django's ORM", {"names": ["ann"]}, "django")
def django_orm() -> dict[str, Any]:
    """Call `close_old_connections()` after each call, as Django does after each request."""
    from django.db import close_old_connections

    with DJANGO:
        person = _django()
    try:
        return {"names": list(person.objects.values_list("name", flat=True))}
    finally:
        close_old_connections()


@use(DATABASES, "Django's asynchronous ORM", {"names": ["ann"]}, "django", where=(REACTOR,))
async def django_async() -> dict[str, Any]:
    """Django runs the queries in one thread for all calls."""
    from asgiref.sync import sync_to_async
    from django.db import close_old_connections

    def prepare() -> Any:
        with DJANGO:
            return _django()

    person = await sync_to_async(prepare)()
    try:
        return {"names": [name async for name in person.objects.values_list("name", flat=True)]}
    finally:
        await sync_to_async(close_old_connections)()


@use(DATABASES, "psycopg, asynchronous", {"one": 1}, "psycopg", "postgresql", where=(REACTOR,))
async def psycopg_async() -> dict[str, Any]:
    """Open a connection for each call, or an `AsyncConnectionPool` in a lifespan."""
    import psycopg

    async with await psycopg.AsyncConnection.connect(os.environ["WORKS_WITH_DATABASE"]) as connection:
        row = await (await connection.execute("SELECT 1")).fetchone()
        assert row is not None
        return {"one": row[0]}


@use(DATABASES, "psycopg", {"one": 1}, "psycopg", "postgresql")
def psycopg_connection() -> dict[str, Any]:
    """Open a connection for each call, or create a `psycopg_pool` at module level."""
    import psycopg

    with psycopg.connect(os.environ["WORKS_WITH_DATABASE"]) as connection:
        row = connection.execute("SELECT 1").fetchone()
        assert row is not None
        return {"one": row[0]}


# ---- HTTP ----

HTTP = "HTTP clients"


@use(HTTP, "requests", {"status": 200}, "requests")
def requests_get() -> dict[str, Any]:
    """Pass `call.trace` as headers to continue the trace."""
    import requests

    return {"status": requests.get(os.environ["WORKS_WITH_URL"], timeout=30).status_code}


@use(HTTP, "httpx, synchronous", {"status": 200}, "httpx")
def httpx_get() -> dict[str, Any]:
    """Threads may share a `Client` at module level."""
    import httpx

    return {"status": httpx.get(os.environ["WORKS_WITH_URL"], timeout=30).status_code}


@use(HTTP, "httpx, asynchronous", {"status": 200}, "httpx", where=(REACTOR,))
async def httpx_async() -> dict[str, Any]:
    """Making a client blocks the reactor while it reads certificates: make one in a lifespan."""
    import httpx

    async with httpx.AsyncClient(timeout=30) as client:
        return {"status": (await client.get(os.environ["WORKS_WITH_URL"])).status_code}


@use(HTTP, "aiohttp", {"status": 200}, "aiohttp", where=(REACTOR,))
async def aiohttp_get() -> dict[str, Any]:
    """Open one `ClientSession` in a lifespan; a session for each call works too."""
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(os.environ["WORKS_WITH_URL"]) as response:
        return {"status": response.status}


@use(HTTP, "urllib", {"status": 200})
def urllib_get() -> dict[str, Any]:
    """Always pass a timeout."""
    from urllib.request import urlopen

    with urlopen(os.environ["WORKS_WITH_URL"], timeout=30) as response:
        return {"status": response.status}


# ---- results ----

RESULTS = "Results"


@use(RESULTS, "NumPy numbers", {"mean": 1.0, "n": 3, "yes": True}, "numpy")
def numpy_numbers() -> dict[str, Any]:
    """Integers, floats and booleans of NumPy are numbers and booleans in JSON."""
    import numpy

    array = numpy.arange(3)
    return {"mean": array.mean(), "n": numpy.int64(3), "yes": numpy.bool_(True)}


@use(RESULTS, "NumPy arrays", {"values": [0, 1, 2]}, "numpy")
def numpy_array() -> dict[str, Any]:
    """They are converted with `tolist()`."""
    import numpy

    return {"values": numpy.arange(3).tolist()}


@use(RESULTS, "NumPy times", {"at": "2020-01-02T03:04:05.123456", "days": ["2020-01-02T00:00:00"]}, "numpy")
def numpy_times() -> dict[str, Any]:
    """They are sent with microseconds, like `datetime`. `NaT` is rejected, like NaN."""
    import numpy

    at = numpy.datetime64("2020-01-02T03:04:05.123456789")
    return {"at": at, "days": numpy.array(["2020-01-02"], "datetime64[D]")}


@use(RESULTS, "pandas", {"rows": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}, "pandas")
def pandas_frame() -> dict[str, Any]:
    """Return `frame.to_dict("records")`, or `Reply(frame.to_json(orient="records"), headers=...)`."""
    import pandas

    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    return {"rows": frame.to_dict("records")}


@use(RESULTS, "pandas, a `DataFrame` as it is", None, "pandas", fails=dict.fromkeys(BLOCKING, "to_dict"))
def pandas_raw() -> dict[str, Any]:
    """It is rejected; use `to_dict("records")` or another orientation."""
    import pandas

    return {"rows": pandas.DataFrame({"a": [1, 2]})}


@use(RESULTS, "Pillow", b"\x89PNG", "PIL")
def pillow_image() -> Reply:
    """Return a `Reply` with the bytes and a content type."""
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (2, 2), "red").save(file, "PNG")
    return Reply(file.getvalue(), headers={"Content-Type": "image/png"})


@use(RESULTS, "pydantic models", {"n": 1, "inner": {"name": "x"}}, "pydantic")
def pydantic_result() -> Any:
    """They work as results, also inside other results, and as parameters."""
    from pydantic import BaseModel

    class Inner(BaseModel):
        name: str

    class Outer(BaseModel):
        n: int
        inner: Any

    return Outer(n=1, inner=Inner(name="x"))


@use(RESULTS, "attrs", {"n": 1}, "attrs")
def attrs_result() -> Any:
    """They work as results and as parameters."""
    import attrs

    return attrs.make_class("Point", ["n"])(1)


@dataclasses.dataclass
class Point:
    x: int
    y: int


@use(RESULTS, "dataclasses", {"x": 1, "y": 2})
def dataclass_result() -> Point:
    """They work as results and as parameters."""
    return Point(1, 2)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@use(RESULTS, "enums", {"colour": "red", "level": 1})
def enum_result() -> dict[str, Any]:
    """Their values are sent."""
    return {"colour": Colour.RED, "level": Level.LOW}


# ---- logging ----

LOGGING = "Logging and warnings"


@use(LOGGING, "`logging`, as it is", {"logged": True}, log="a warning of logging")
def logging_plain() -> dict[str, Any]:
    """Warnings and errors appear in the server's log."""
    logging.getLogger("shop").warning("a warning of logging")
    return {"logged": True}


@use(LOGGING, "`logging.basicConfig`", {"logged": True}, log="an info of basicConfig")
def logging_basic() -> dict[str, Any]:
    """
    It writes to standard error, which appears in the foreground and in the log of worker processes. A daemon
    has no standard error, so configure a file there.
    """
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("shop.basic").info("an info of basicConfig")
    return {"logged": True}


CONFIGURATION = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"shop.dict": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}


@use(LOGGING, "`logging.config.dictConfig`", {"logged": True}, log="an info of dictConfig")
def logging_dict() -> dict[str, Any]:
    """Django and many other libraries configure logging like this."""
    logging.config.dictConfig(CONFIGURATION)
    logging.getLogger("shop.dict").info("an info of dictConfig")
    return {"logged": True}


@use(LOGGING, "`print`", {"printed": True}, log="printed by a function")
def printed() -> dict[str, Any]:
    """Each line becomes a line of the log."""
    print("printed by a function")
    return {"printed": True}


@use(LOGGING, "structlog", {"logged": True}, "structlog", log="logged by structlog")
def structlog_logger() -> dict[str, Any]:
    """Bind `call.request_id` to find the lines of a call."""
    import structlog

    structlog.get_logger().info("logged by structlog")
    return {"logged": True}


@use(LOGGING, "`warnings`", {"caught": 1})
def warnings_caught() -> dict[str, Any]:
    """`catch_warnings` affects the whole process while it is active, so threads may disturb each other."""
    with LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return {"caught": len(caught)}


# ---- state of the context and of the process ----

STATE = "State of the context and of the process"
USER: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


@use(STATE, "`contextvars`", {"before": "nobody"})
def context_variable() -> dict[str, Any]:
    """Each call starts with an empty context."""
    before = USER.get()
    USER.set("somebody")
    return {"before": before}


@use(STATE, "`contextvars` in an `async def`", {"before": "nobody"}, where=(REACTOR,))
async def context_variable_async() -> dict[str, Any]:
    """Each call starts with an empty context."""
    return context_variable()


@use(STATE, "`decimal.getcontext()`", {"before": 28})
def decimal_context() -> dict[str, Any]:
    """Each call starts with the default context."""
    before = decimal.getcontext().prec
    decimal.getcontext().prec = 4
    return {"before": before}


@use(STATE, "`locale.setlocale`", {"point": "."})
def locale_set() -> dict[str, Any]:
    """It applies to the whole process; set it when the module is imported, not in calls."""
    locale.setlocale(locale.LC_NUMERIC, "C")
    return {"point": locale.localeconv()["decimal_point"]}


@use(STATE, "`os.chdir`", {"same": True})
def changed_folder() -> dict[str, Any]:
    """It applies to the whole process and so to other calls; prefer absolute paths."""
    before = Path.cwd()
    os.chdir(before)
    return {"same": Path.cwd() == before}


@use(STATE, "`atexit`", {"registered": True})
def at_exit() -> dict[str, Any]:
    """The functions run when the server or the worker process stops, with every `--type`."""
    atexit.register(str)
    return {"registered": True}


@use(STATE, "open files and `tempfile`", {"text": "ä"})
def open_file() -> dict[str, Any]:
    """Pass the encoding of text files, because the default depends on the system."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.txt")
        path.write_text("ä", encoding="utf-8")
        with path.open(encoding="utf-8") as file:
            return {"text": file.read()}


@use(STATE, "reading the `Call`", {"method": "GET"})
def reads_call(call: Call) -> dict[str, Any]:
    """A parameter annotated `Call` receives the request."""
    return {"method": call.method}


url_patterns = tuple((f"/{each.function.__name__}/", each.function) for each in USES)
