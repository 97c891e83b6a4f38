"""
Programs that put tasks in their own transactions, while they and the database are killed.

C{python -m tests.support.transaction_programs} measures the time from the commit to the delivery, and checks
that exactly the committed tasks are delivered. With C{--kills N}, it kills programs and the database.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty
from threading import Event, Thread
from typing import Any, NamedTuple

from tests.support.forks import ROOT
from tests.support.postgres import PostgreSQL
from tests.support.queue_server import Server, wait_for
from twisted_appserver.tqueue.client import LeaseLost, Queue
from twisted_appserver.tqueue.transactions import put

LIBRARIES = ("psycopg", "sqlalchemy", "django")
INTENT = "CREATE TABLE intent (library text, n int, PRIMARY KEY (library, n))"
LIMIT = 120.0  # seconds for everything
SEED = 3
WORKERS = 2  # of each server

# A transaction, as a context manager: it yields a place for put() and a function that executes a statement.
Begin = Callable[[], Any]


def psycopg_transactions(url: str) -> Begin:
    import psycopg

    connections: list[Any] = []

    @contextmanager
    def begin() -> Iterator[Any]:
        if not connections or connections[-1].closed:
            connections.append(psycopg.connect(url))
        with connections[-1].transaction():
            yield connections[-1], connections[-1].execute

    return begin


def sqlalchemy_transactions(url: str) -> Begin:
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    @contextmanager
    def begin() -> Iterator[Any]:
        with Session(engine) as session, session.begin():
            yield session, lambda statement: session.execute(text(statement))

    return begin


def django_transactions(url: str) -> Begin:
    import psycopg
    from django.conf import settings

    place = psycopg.conninfo.conninfo_to_dict(url)
    settings.configure(
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": place["dbname"], "USER": place["user"],
            "HOST": place["host"], "PORT": place["port"], "CONN_MAX_AGE": None,
        }}
    )  # fmt: skip
    from django.db import connection, transaction

    @contextmanager
    def begin() -> Iterator[Any]:
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()
        with transaction.atomic(), connection.cursor() as cursor:
            yield connection, cursor.execute

    return begin


class Undo(Exception):
    """Raised to roll a transaction back."""


def run_program(library: str, url: str, last: int, pause: float) -> None:
    """
    Perform transactions with the numbers up to C{last}, and roll every second one back.

    Standard output has a line for each number, before its transaction, and one with the time after its
    commit. Standard input has the number that an earlier process has begun last.
    """
    begin: Begin = globals()[f"{library}_transactions"](url)
    number = int(sys.stdin.readline())
    while number < last:
        if not was_committed(begin, library, number):
            perform(begin, library, number)
        number += 1
        time.sleep(pause)


def was_committed(begin: Begin, library: str, number: int) -> bool:
    with begin() as (_, execute):
        found = execute(f"SELECT count(*) FROM intent WHERE library = '{library}' AND n = {number}")
        return bool((found if hasattr(found, "fetchone") else execute.__self__).fetchone()[0])


def perform(begin: Begin, library: str, number: int) -> None:
    print("began", number, flush=True)
    try:
        with begin() as (place, execute):
            execute(f"INSERT INTO intent VALUES ('{library}', {number})")
            put(place, "q", {"library": library, "n": number})
            if number % 2:
                raise Undo
    except Undo:
        return
    print("committed", number, time.time(), flush=True)


class Delivery(NamedTuple):
    """A task that a worker has got."""

    task_id: str
    at: float


class Program:
    """One of the programs. Its process is started again whenever it ends before the last number."""

    def __init__(self, library: str, url: str, last: int, pause: float) -> None:
        self._arguments = ("--program", library, "--url", url, "--last", str(last), "--pause", str(pause))
        self.begun, self.committed, self.over = 0, dict[int, float](), False
        self.process: subprocess.Popen[str] | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self.over:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.transaction_programs", *self._arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            )  # fmt: skip
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(f"{self.begun}\n")
            self.process.stdin.close()
            for line in self.process.stdout:
                what, number, *at = line.split()
                self.begun = int(number)
                if what == "committed":
                    self.committed[int(number)] = float(at[0])
            self.process.stdout.close()
            self.over = self.process.wait() == 0 or self.over

    def kill(self) -> None:
        if self.process is not None and not self.over:
            self.process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        self.over = True
        if self.process is not None:
            self.process.kill()
        self._thread.join(20)


class Trial:
    """
    Two servers, their workers and the programs over one database.

    @param each: how many transactions each program performs.
    @param pause: seconds between two transactions of a program.
    @ivar delivered: what the workers have got, by library and number.
    """

    def __init__(self, each: int, pause: float) -> None:
        self.delivered: dict[tuple[str, int], list[Delivery]] = defaultdict(list)
        self._over = Event()
        self.database = PostgreSQL().start()
        self.name = self.database.database().rpartition("/")[2]
        url = self.database.url(self.name)
        self.database.ask(INTENT, database=self.name)
        self.servers = [Server(url).start() for _ in range(2)]
        self.workers = [
            Thread(target=self._work, args=(server.url,), daemon=True) for server in self.servers * WORKERS
        ]
        for worker in self.workers:
            worker.start()
        self.programs = {name: Program(name, url, each, pause) for name in LIBRARIES if is_installed(name)}

    def _work(self, url: str) -> None:
        queue = Queue(0, url, "q", patience=LIMIT)
        queue.config(max_deliveries=0)
        while not self._over.is_set():
            try:
                leased = queue.get_task(timeout=0.5)
                at, item = time.time(), leased["task"]
                self.delivered[item["library"], item["n"]].append(Delivery(leased["task_id"], at))
                queue.done(leased["task_id"], leased["delivery"])
            except (Empty, LeaseLost):
                continue

    def kill(self, choice: random.Random) -> None:
        """Kill a program, or the database, which is started again."""
        if choice.random() < 0.3:
            self.database.stop("immediate")
            self.database.start()
        else:
            choice.choice(list(self.programs.values())).kill()

    def is_over(self) -> bool:
        return all(program.over for program in self.programs.values())

    def committed(self) -> set[tuple[str, int]]:
        """Return what the database contains."""
        rows = self.database.ask("SELECT library, n FROM intent", database=self.name).splitlines()
        return {(library, int(number)) for library, number in (row.split("|") for row in rows)}

    def finish(self) -> set[tuple[str, int]]:
        """Wait until the programs have ended and the queue is empty. Return what was committed."""
        wait_for(self.is_over, LIMIT)
        committed = self.committed()
        wait_for(lambda: committed <= self.delivered.keys(), LIMIT)
        assert Queue(0, self.servers[0].url, "q", patience=LIMIT).join(LIMIT)
        return committed

    def wrong(self, committed: set[tuple[str, int]]) -> list[str]:
        """Return what is wrong: tasks that were not committed, were lost, or exist twice."""
        twice = [key for key, all_of in self.delivered.items() if len({each.task_id for each in all_of}) > 1]
        return [
            *(f"not committed, but delivered: {key}" for key in self.delivered.keys() - committed),
            *(f"lost: {key}" for key in committed - self.delivered.keys()),
            *(f"put twice: {key}" for key in twice),
        ]

    def delays(self) -> list[float]:
        """Return the seconds from the response to the commit to the delivery, in order."""
        return sorted(
            self.delivered[library, number][0].at - at
            for library, program in self.programs.items()
            for number, at in program.committed.items()
        )

    def close(self) -> None:
        self._over.set()
        for program in self.programs.values():
            program.stop()
        for worker in self.workers:
            worker.join(20)
        for server in self.servers:
            server.kill()
        self.database.stop()
        shutil.rmtree(self.database.folder, ignore_errors=True)


def is_installed(library: str) -> bool:
    try:
        __import__(library)
    except ImportError:
        return False
    return True


def run_trial(transactions: int, kills: int, pause: float) -> tuple[Trial, set[tuple[str, int]]]:
    """Run everything. The trial is closed then."""
    trial, choice = Trial(transactions // len(LIBRARIES), pause), random.Random(SEED)
    try:
        for _ in range(kills):
            time.sleep(choice.uniform(0.2, 1.0))
            if trial.is_over():
                break
            trial.kill(choice)
        return trial, trial.finish()
    finally:
        trial.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.1)
    for name in ("--program", "--url", "--last"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.program:
        run_program(options.program, options.url, int(options.last), options.pause)
        return
    trial, committed = run_trial(options.transactions, options.kills, options.pause)
    delays = trial.delays()
    print(
        f"{len(committed)} of {options.transactions} transactions were committed, with {options.kills} kills"
    )
    print("\n".join(trial.wrong(committed)) or "exactly these tasks were delivered")
    print(
        f"from the commit to the delivery: median {statistics.median(delays) * 1000:.1f} ms, "
        f"99 % {delays[len(delays) * 99 // 100] * 1000:.1f} ms, worst {delays[-1] * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
