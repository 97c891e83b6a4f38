"""
Other task queues over PostgreSQL: NAME ROLE URL SECONDS.

C{prepare} creates their tables. C{produce} puts tasks from 64 coroutines, and each commits a task before it
puts the next. C{work} does tasks and prints how many it did per second, without the first second. More
connections or more tasks at once made no package faster in trials.

C{copy} is for awa only: it puts tasks with COPY, does them afterwards, and prints how many tasks it put and
did per second.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import uvloop

PAYLOAD = {"n": 1, "text": "x" * 80}
COROUTINES, CONNECTIONS, BATCH = 64, 16, 64
WORKERS = 256  # of awa
COPIED, COPY = 20_000, 1_000  # tasks, and tasks in one COPY
WARM = 1.0  # seconds


class Count:
    """Count the tasks that were done while it counts."""

    def __init__(self, seconds: float) -> None:
        self._begin = time.monotonic() + WARM
        self._seconds, self._done = seconds, 0

    def __call__(self) -> None:
        self._done += 0 <= time.monotonic() - self._begin < self._seconds

    async def end(self) -> None:
        await asyncio.sleep(self._begin + self._seconds - time.monotonic())
        print(self._done / self._seconds, flush=True)


async def loop(put: Callable[[], Awaitable[Any]], seconds: float) -> None:
    """Put tasks from several coroutines until the time is over."""
    end = time.monotonic() + seconds + 2 * WARM

    async def one() -> None:
        while time.monotonic() < end:
            await put()

    await asyncio.gather(*(one() for _ in range(COROUTINES)))


async def procrastinate(role: str, url: str, seconds: float) -> None:
    import procrastinate as package

    connector = package.PsycopgConnector(conninfo=url, min_size=4, max_size=CONNECTIONS)
    app, count = package.App(connector=connector), Count(seconds)

    @app.task(name="bench")
    async def bench(**fields: Any) -> None:
        count()

    async with app.open_async():
        if role == "prepare":
            await app.schema_manager.apply_schema_async()
        elif role == "produce":
            await loop(lambda: bench.defer_async(**PAYLOAD), seconds)
        else:
            options: Any = {"concurrency": BATCH, "delete_jobs": "always", "install_signal_handlers": False}
            working = asyncio.create_task(app.run_worker_async(**options))
            await count.end()
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working


async def pgqueuer(role: str, url: str, seconds: float) -> None:
    import asyncpg
    import msgspec
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgPoolDriver
    from pgqueuer.models import Job
    from pgqueuer.queries import Queries

    async with asyncpg.create_pool(url, min_size=4, max_size=CONNECTIONS) as pool:
        driver, count = AsyncpgPoolDriver(pool), Count(seconds)
        if role == "prepare":
            await Queries(driver).install()
        elif role == "produce":
            queries = Queries(driver)
            await loop(lambda: queries.enqueue("bench", msgspec.json.encode(PAYLOAD)), seconds)
        else:
            queue = PgQueuer(driver)

            @queue.entrypoint("bench")
            async def bench(job: Job) -> None:
                count()

            working = asyncio.create_task(queue.run(batch_size=BATCH))
            await count.end()
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working


@dataclass
class Bench:
    """A task of awa."""

    n: int
    text: str


async def awa(role: str, url: str, seconds: float) -> None:
    import awa as package

    client = package.AsyncClient(url, max_connections=CONNECTIONS)
    if role == "prepare":
        await package.migrate(url)
        return
    if role == "produce":
        await loop(lambda: client.insert(Bench(**PAYLOAD), queue="bench"), seconds)
        return
    count, began, left, all_done = Count(seconds), 0.0, COPIED, asyncio.Event()

    @client.task(Bench, queue="bench")
    async def bench(job: Any) -> None:
        nonlocal left
        count()
        left -= 1
        if not left:
            all_done.set()

    if role == "copy":
        await client.install_queue_storage()  # faster with COPY, slower with single tasks
        tasks = [Bench(**PAYLOAD)] * COPY
        began = time.monotonic()
        for _ in range(COPIED // COPY):
            await client.enqueue_many_copy(tasks, queue="bench")
    await client.start([("bench", WORKERS)])
    if role == "copy":
        await all_done.wait()
        print(COPIED / (time.monotonic() - began), flush=True)
    else:
        await count.end()
    await client.shutdown()


PACKAGES = {"awa": awa, "procrastinate": procrastinate, "pgqueuer": pgqueuer}

if __name__ == "__main__":
    _, name, role, url, seconds = sys.argv
    uvloop.run(PACKAGES[name](role, url, float(seconds)))
