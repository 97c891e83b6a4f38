"""Jobs per second, and what a full store costs.

C{python -m benchmarks.background jobs}: jobs per second from 202 to done, in memory, SQLite and PostgreSQL.

C{python -m benchmarks.background full}: how much longer jobs and tasks take with a million waiting tasks, a
million results, 10,000 groups and 10,000 schedules, and the memory of a waiting task.

Both write their table into docs/scaling.md.
"""

import argparse
import http.client
import json
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environment import SERVERS
from benchmarks.scaling import start
from benchmarks.scaling_page import table, write
from tests.support.postgres import PostgreSQL
from tests.support.queue_server import TWISTD, Server

ROUNDS, JOBS, CONNECTIONS = 3, 20_000, 32
MILLION, GROUPS, SCHEDULES = 1_000_000, 10_000, 10_000
SECONDS = 4
APP = """\
from twisted_appserver import Route

runs = []


def square(n: int):
    runs.append(n)
    return {{"square": n * n}}


def tick():
    return {{}}


url_patterns = (
    Route(r"/square/(?P<n>)", square),
    Route(r"/runs", lambda: {{"runs": len(runs)}}, executor="inline"),
    *(
        Route(rf"/tick{{number}}/", tick, name=f"tick{{number}}", every=86400)
        for number in range({schedules})
    ),
)
"""


@contextmanager
def service(store: str, schedules: int = 0) -> Iterator[int]:
    """Run a service in a folder of its own, and yield its port."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(APP.format(schedules=schedules))
        words = ["--store", store.format(folder=folder), "--max-jobs", "10000000"]
        process, port = start(words, folder)
        try:
            time.sleep(1.0 if not schedules else 20.0)
            yield port
        finally:
            process.terminate()
            process.communicate(timeout=60)


def ask(port: int, path: str) -> dict[str, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def jobs_per_second(port: int, count: int) -> float:
    """Begin jobs on several connections, one at a time on each, and wait until all have run."""
    poll, sockets, begun = select.epoll(), dict[int, socket.socket](), 0
    before = ask(port, "/runs")["runs"]
    start = time.perf_counter()
    for _ in range(CONNECTIONS):
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[one.fileno()] = one
        poll.register(one, select.EPOLLIN)
        one.sendall(request(begun))
        begun += 1
    answered = 0
    while answered < count:
        for number, _ in poll.poll(60):
            said = sockets[number].recv(65536)
            if said.startswith(b"HTTP/1.1 503"):  # as many calls wait as may
                sockets[number].sendall(request(begun))
                continue
            if not said.startswith(b"HTTP/1.1 202"):
                raise SystemExit(f"no job was begun: {said!r}")
            answered += 1
            if begun < count:
                sockets[number].sendall(request(begun))
                begun += 1
    while ask(port, "/runs")["runs"] < before + count:
        time.sleep(0.02)
    spent = time.perf_counter() - start
    for one in sockets.values():
        one.close()
    return count / spent


def request(number: int) -> bytes:
    return b"GET /square/%d HTTP/1.1\r\nHost: localhost\r\nPrefer: respond-async\r\n\r\n" % number


def jobs(database: PostgreSQL) -> str:
    """Measure jobs in each store, and return a table."""
    found: dict[str, list[float]] = {}
    stores = {"memory": "memory:", "SQLite": "sqlite:{folder}/jobs.db", "PostgreSQL": ""}
    for _ in range(ROUNDS):
        for name, store in stores.items():
            with service(store or database.database()) as port:
                jobs_per_second(port, JOBS // 10)
                found.setdefault(name, []).append(jobs_per_second(port, JOBS))
            print(name, round(found[name][-1]), flush=True)
    rows = [[name, f"{statistics.median(each):,.0f}"] for name, each in found.items()]
    return table(["store", "jobs/s, from the request to the end of the function"], rows)


def load(server: Server, what: str, *, tasks: int = 0, batches: bool = False) -> dict[str, float]:
    """Run the load generator, for some seconds or until so many tasks were put or done."""
    speaker, limit = ("http-batches", tasks // 32) if batches else ("http", tasks)
    if what == "cycle":
        limit *= 3
    words = [speaker, server.port, CONNECTIONS, 1000 if tasks else SECONDS, what, limit]
    command = [sys.executable, str(SERVERS / "queue_load.py"), *map(str, words)]
    found: dict[str, float] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    return found


def post(server: Server, path: str, body: object = None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    data = None if body is None else json.dumps(body)
    connection.request("POST", path, data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.read()!r}")
    connection.close()


def memory(server: Server) -> int:
    """Return the resident memory in bytes."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def cycles(server: Server) -> float:
    """Return requests per second: tasks are put, got and done in turn, and their results are kept."""
    load(server, "cycle")
    return statistics.median(load(server, "cycle")["requests/s"] for _ in range(ROUNDS))


def fill(server: Server) -> float:
    """Fill a queue. Return how many bytes of memory a waiting task needs."""
    before = memory(server)
    load(server, "cycle", tasks=MILLION, batches=True)
    print(f"a million results: {memory(server) - before:,} bytes", flush=True)
    before = memory(server)
    load(server, "put", tasks=MILLION, batches=True)
    grown = memory(server) - before
    for group in range(GROUPS):
        post(server, f"/grouped/put?group=g{group}", {"n": 1})
    return grown / MILLION


def full(database: PostgreSQL) -> str:
    """Measure empty and full stores, and return a table."""
    rows = []
    for name, store in (("SQLite", "sqlite:{folder}/tasks.db"), ("PostgreSQL", "")):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(store.format(folder=folder) or database.database(), script=TWISTD).start()
            post(server, "/bench/config", {"keep": 86400, "keep_count": 2 * MILLION})
            empty = cycles(server)
            each = fill(server)
            again = cycles(server)
            server.stop()
        rows.append([f"tasks, {name}", f"{empty / again:.2f}", f"{each:.0f}"])
        print(*rows[-1], flush=True)
    store = "sqlite:{folder}/jobs.db"
    ratios = []
    with service(store, 10) as few, service(store, SCHEDULES) as many:
        for port in (few, many):
            jobs_per_second(port, JOBS // 10)
        for _ in range(ROUNDS):
            ratios.append(jobs_per_second(few, JOBS) / jobs_per_second(many, JOBS))
    rows.append([f"jobs, SQLite, {SCHEDULES:,} schedules", f"{statistics.median(ratios):.2f}", ""])
    return table(["", "full / empty, time", "bytes of memory for a waiting task"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.background", description=__doc__)
    parser.add_argument("what", choices=("jobs", "full"))
    what = parser.parse_args().what
    database = PostgreSQL(fsync=True).start()
    try:
        text = {"jobs": jobs, "full": full}[what](database)
    finally:
        database.remove()
    write(what, text)


if __name__ == "__main__":
    main()
