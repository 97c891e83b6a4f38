"""Traffic of every kind, and the memory of the server over time: C{python -m tests.faults --soak}.

Each kind of request has its own client, which checks every response. What faults explain is allowed: a
new connection that is closed while no descriptors are left and, where workers are killed, 502 or a stream
that breaks off.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import random
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.application import PARTS
from tests.faults.repeating_threads import RepeatingThreads

PATIENCE = 30.0  # seconds to wait for a response
BODY = 300_000  # bytes of a posted body
EVERY = 1.0  # seconds between two samples of the memory
SPARE = 20_000_000  # bytes by which the memory may differ between the second and the last quarter of a run
OFTEN = 0.4  # the share of requests of a kind that may fail because of faults
FIRST = 2 * 10**12  # numbers of these calls; other clients use lower numbers


class Wrong(Exception):
    """Raised when a response is wrong."""


def same(found: object, expected: object) -> None:
    """
    @raise Wrong: when they differ.
    """
    if found != expected:
        raise Wrong(f"{str(found)[:200]} instead of {str(expected)[:200]}")


def turned_away(error: Exception) -> bool:
    """Return whether the server closed a connection."""
    return isinstance(error, ConnectionError) or getattr(error, "errno", None) == errno.ENOTCONN


class Traffic(RepeatingThreads):
    """
    Sends requests of every kind. Each kind has a thread that repeats it.

    @param kills: whether worker processes are killed.
    @ivar done: how often each kind ended as it should; C{excused}: how often it did not, for a known reason.
    @ivar wrong: failures that no fault explains.
    """

    def __init__(self, port: int, seed: int, kills: bool) -> None:
        self._port, self._kills = port, kills
        self._lock = threading.Lock()
        self._last = FIRST
        self.done: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        self.wrong: list[str] = []
        kinds = (
            self.posted,
            self.streamed,
            self.left,
            self.half_closed,
            self.job,
            self.cancelled,
            self.rejected,
        )
        super().__init__(
            partial(self._run, kind, random.Random(seed + place)) for place, kind in enumerate(kinds)
        )

    def _run(self, kind: Callable[[random.Random], None], chance: random.Random) -> None:
        name = kind.__name__
        while not self.stopping.wait(chance.uniform(0, 0.1)):
            try:
                kind(chance)
                self.done[name] += 1
            except (OSError, http.client.HTTPException) as error:
                self._failed(name, error, self._kills or turned_away(error))
            except (Wrong, ValueError, KeyError) as error:
                self._failed(name, error, self._kills and "502" in str(error))

    def _failed(self, name: str, error: Exception, excused: bool) -> None:
        if excused:
            self.excused[name] += 1
        else:
            self.wrong.append(f"{name}: {error!r}")

    def _number(self) -> int:
        with self._lock:
            self._last += 1
            return self._last

    @contextmanager
    def _open(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers, encode_chunked=True)  # type: ignore[arg-type]
            yield connection.getresponse()
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Send a request. Return the status and the JSON of the response."""
        with self._open(method, path, body, **headers) as response:
            return response.status, json.loads(response.read())

    def unexplained(self) -> list[str]:
        """Return what is wrong, and the kinds that failed more often than faults explain."""
        often = [name for name, count in self.excused.items() if count > OFTEN * (count + self.done[name])]
        return [*self.wrong[:20], *(f"{name} failed {self.excused[name]} times" for name in often)]

    # ---- the kinds of requests ----

    def posted(self, chance: random.Random) -> None:
        """Send a body in chunks of random sizes."""
        number = self._number()
        text = json.dumps({"text": "x" * BODY}).encode()
        cuts = sorted(chance.randrange(len(text)) for _ in range(20))
        chunks = [
            text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True) if start != end
        ]
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        found = self._ask("POST", f"/measures/{number}", iter(chunks), **headers)
        same(found, (200, {"number": number, "size": BODY}))

    def streamed(self, _: random.Random) -> None:
        """Read a stream to its end."""
        with self._open("GET", f"/streams/{self._number()}") as response:
            same(response.status, 200)
            items = [json.loads(line)["part"] for line in response]
        if len(items) < PARTS and self._kills:
            raise http.client.IncompleteRead(b"")
        same(items, list(range(PARTS)))

    def left(self, chance: random.Random) -> None:
        """Read a part of a stream, or nothing."""
        with self._open("GET", f"/streams/{self._number()}") as response:
            same(response.status, 200)
            response.read(chance.choice((0, 1, 5000)))

    def half_closed(self, _: random.Random) -> None:
        """Close the sending side as soon as the request has been sent."""
        number = self._number()
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /slow/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            connection.shutdown(socket.SHUT_WR)
            data = b"".join(iter(lambda: connection.recv(65536), b""))
        if not data:
            raise ConnectionResetError("no response")
        same(data.split(b" ", 2)[1].decode(), "200")
        same(json.loads(data.partition(b"\r\n\r\n")[2])["number"], number)

    def _start(self, path: str) -> str:
        status, document = self._ask("GET", path, Prefer="respond-async")
        same(status, 202)
        return f"/-/jobs/{document['job']}"

    def job(self, _: random.Random) -> None:
        """Start a job, poll it until it has finished, and delete it."""
        number = self._number()
        place = self._start(f"/slow/{number}")
        limit = time.monotonic() + PATIENCE
        while (document := self._ask("GET", place)[1])["state"] in ("waiting", "running"):
            if time.monotonic() > limit:
                raise Wrong(f"the job is still {document['state']}")
            time.sleep(0.05)
        if self._kills and document["state"] == "failed":
            raise http.client.IncompleteRead(b"")
        same(document["result"]["number"], number)
        same(self._ask("DELETE", place)[0], 200)

    def cancelled(self, _: random.Random) -> None:
        """Start a job that streams, and cancel it."""
        place = self._start(f"/streams/{self._number()}")
        same(self._ask("DELETE", place)[0], 200)

    def rejected(self, _: random.Random) -> None:
        """Send requests that are rejected."""
        json_type = {"Content-Type": "application/json"}
        same(self._ask("GET", "/nowhere")[0], 404)
        same(self._ask("GET", "/quick/1", Origin="http://example.org")[0], 403)
        same(self._ask("GET", "/quick/1", Host="example.org")[0], 421)
        same(self._ask("POST", "/measures/1", b"{", **json_type)[0], 400)
        same(self._ask("DELETE", "/quick/1")[0], 405)


class Memory(RepeatingThreads):
    """
    The resident memory of a process, sampled over time.

    @ivar samples: the samples in bytes.
    """

    def __init__(self, pid: int) -> None:
        super().__init__([self._run])
        self._path = Path(f"/proc/{pid}/statm")
        self.samples: list[int] = []

    def _run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self.stopping.wait(EVERY):
            with suppress(OSError):
                self.samples.append(int(self._path.read_text().split()[1]) * page)

    def quarters(self) -> list[int]:
        """Return the median of each quarter of the run, in bytes."""
        size = len(self.samples) // 4
        if not size:
            return []
        return [int(statistics.median(self.samples[size * n : size * (n + 1)])) for n in range(4)]

    def wrong(self) -> list[str]:
        """Return a line if the memory has grown since the second quarter, when caches were full."""
        quarters = self.quarters()
        if not quarters or quarters[3] <= quarters[1] + SPARE:
            return []
        return [f"the memory has grown from {quarters[1]} to {quarters[3]} bytes"]


def unfinished(path: str, kills: bool) -> list[str]:
    """Return a line if generators were not closed. If workers were killed, some may be missing."""
    begun: Counter[str] = Counter(Path(path).read_text().split())
    open_ones = begun["begun"] - begun["ended"]
    return [] if kills or not open_ones else [f"{open_ones} of {begun['begun']} generators were not closed"]
