"""
Tasks while an earlier version of TQueueSrv and this one share a database.

C{python -m tests.support.migration REVISION}: the server of a revision of git fills its tables. Then this
version starts beside it and migrates them, and both serve for some seconds. Then the earlier one stops.
Exits with status 1 if a task was lost or delivered twice.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections import Counter
from threading import Event, Thread
from typing import Any

from tests.support.forks import ROOT
from tests.support.postgres import PostgreSQL
from tests.support.queue_server import TWISTD, Server, wait_for

CLIENTS, DELAYED = 4, 100
DELAY = 4  # seconds, longer than the earlier server runs alone
ALONE, BOTH, AFTER = 2.0, 4.0, 1.0  # seconds


class Trial:
    """
    Clients that put tasks and do them.

    @ivar urls: of the servers that run; clients take turns.
    @ivar uncertain: puts without a response, which may have succeeded.
    """

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.put: set[int] = set()
        self.uncertain: set[int] = set()
        self.done: Counter[int] = Counter()
        self.failed: Counter[str] = Counter()
        self._numbers, self._turns = itertools.count(), itertools.count()
        self._no_more_puts, self._end = Event(), Event()

    def ask(self, path: str, body: Any = None) -> Any:
        url = self.urls[next(self._turns) % len(self.urls)]
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def put_one(self, query: str = "") -> None:
        number = next(self._numbers)
        self.uncertain.add(number)
        self.ask(f"/q/put{query}", {"n": number})
        self.put.add(number)
        self.uncertain.discard(number)

    def do_one(self) -> None:
        task = self.ask("/q/get?timeout=1")
        if task["task_id"]:
            self.ask(f"/q/done/{task['task_id']}")
            self.done[task["task"]["n"]] += 1

    def run(self, act: Any, end: Event) -> None:
        while not end.is_set():
            try:
                act()
            except OSError as error:  # also errors of HTTP: a server that stops refuses requests
                self.failed[f"{act.__name__}: {error}"] += 1
                time.sleep(0.05)

    def start(self) -> list[Thread]:
        acts = [(self.put_one, self._no_more_puts), (self.do_one, self._end)] * CLIENTS
        threads = [Thread(target=self.run, args=each) for each in acts]
        for thread in threads:
            thread.start()
        return threads

    def finish(self, threads: list[Thread]) -> None:
        """Stop putting, wait until all tasks are done, and stop."""
        self._no_more_puts.set()
        try:
            wait_for(lambda: self.put <= self.done.keys(), 30)
        except AssertionError:
            print("some tasks have not been delivered within 30 seconds")
        self._end.set()
        for thread in threads:
            thread.join()

    def wrong(self) -> list[str]:
        lost = self.put - self.done.keys()
        twice = [number for number, times in self.done.items() if times > 1]
        never_put = self.done.keys() - self.put - self.uncertain
        faults = {"lost": lost, "delivered twice": twice, "never put": never_put}
        return [f"{what}: {sorted(numbers)[:10]}" for what, numbers in faults.items() if numbers]


def export(revision: str, folder: str) -> None:
    """Write the project as it was at a revision into a folder."""
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def version(database: PostgreSQL, url: str) -> str:
    return database.ask("SELECT version FROM tqueue.meta", database=url.rpartition("/")[2]).strip()


def run(revision: str) -> list[str]:
    """Return what was wrong."""
    database, trial, servers = PostgreSQL().start(), Trial(), []
    try:
        with tempfile.TemporaryDirectory() as folder:
            export(revision, folder)
            url = database.database()
            environ = {"PYTHONPATH": folder, "PYTHONSAFEPATH": "1"}
            servers.append(Server(url, script=TWISTD, environ=environ).start())
            trial.urls = [servers[0].url]
            for _ in range(DELAYED):
                trial.put_one(f"?delay={DELAY}")
            threads = trial.start()
            time.sleep(ALONE)
            before = version(database, url)
            servers.append(Server(url, script=TWISTD).start())
            trial.urls = [server.url for server in servers]
            time.sleep(BOTH)
            trial.urls = [servers[1].url]
            servers.pop(0).stop()
            time.sleep(AFTER)
            trial.finish(threads)
            print(f"tables of version {before}, migrated to {version(database, url)}")
    finally:
        for server in servers:
            server.stop()
        database.remove()
    print(f"{len(trial.put)} put, {len(trial.done)} done, {len(trial.uncertain)} puts without a response")
    for why, times in trial.failed.items():
        print(f"{times} times: {why}")
    return trial.wrong()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.migration", description=__doc__)
    parser.add_argument("revision", help="of git, such as a tag")
    wrong = run(parser.parse_args().revision)
    print(*wrong, sep="\n", end="\n" if wrong else "nothing was lost or delivered twice\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
