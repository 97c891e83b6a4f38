"""
A load generator for all queues. It sends one request at a time on each of several raw sockets, and
prints its figures as JSON.

Strategy: requests are prepared beforehand if possible, and responses are parsed as little as possible, so
that the generator is not the bottleneck. Its own use of the processor is among the figures.
"""

import json
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.managers import BaseManager
from threading import Thread
from typing import Any, Protocol

BODY = b'{"n":1,"text":"' + b"x" * 80 + b'"}'
AUTHKEY = b"benchmark"


class Speaker(Protocol):
    """
    The protocol of a queue.

    @ivar put: the request that puts a task.
    @ivar get: the request that gets one.
    @ivar tasks: how many tasks a request is about.
    """

    put: bytes
    get: bytes
    tasks: int

    def done(self, answer: bytes) -> bytes:
        """Return the request that finishes the task in this response."""

    def complete(self, answer: bytes) -> bool:
        """Return whether a response is complete. Raise ValueError if it is an error."""


class Http:
    """The protocol of TQueueSrv."""

    put = (
        b"POST /bench/put/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )
    get = b"GET /bench/get/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    tasks = 1

    def done(self, answer: bytes) -> bytes:
        number = answer.partition(b'"task_id":"')[2].partition(b'"')[0]
        if not number:
            raise ValueError(f"no task in {answer[-200:]!r}")
        return b"GET /bench/done/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % number

    def complete(self, answer: bytes) -> bool:
        head, end, body = answer.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 200") or b'"task_id":""' in body:
            raise ValueError(answer[:300])
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)


def _posted(verb: bytes, body: bytes) -> bytes:
    return (
        b"POST /bench/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (verb, len(body), body)
    )


class HttpBatches(Http):
    """The protocol of TQueueSrv, with many tasks in each request."""

    tasks = 32
    put = _posted(b"put", b"[%b]" % b",".join([BODY] * tasks))
    get = b"GET /bench/get?n=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % tasks

    def done(self, answer: bytes) -> bytes:
        tasks = json.loads(answer.partition(b"\r\n\r\n")[2])["tasks"]
        if not tasks:
            raise ValueError(f"no tasks in {answer[-200:]!r}")
        names = [{"task_id": task["task_id"]} for task in tasks]
        return _posted(b"done", json.dumps({"tasks": names}).encode())


class Beanstalkd:
    """The protocol of beanstalkd, from its doc/protocol.txt."""

    put = b"put 0 0 60 %d\r\n%b\r\n" % (len(BODY), BODY)
    get = b"reserve\r\n"
    tasks = 1

    def done(self, answer: bytes) -> bytes:
        return b"delete " + answer.split(b" ", 2)[1] + b"\r\n"

    def complete(self, answer: bytes) -> bool:
        if not answer.endswith(b"\r\n"):
            return False
        if answer.startswith(b"RESERVED"):
            return len(answer) >= len(BODY) + 12 and answer.count(b"\r\n") >= 2
        if not answer.startswith((b"INSERTED", b"DELETED")):
            raise ValueError(answer[:300])
        return True


class Redis:
    """A queue as the documentation of LMOVE describes it: a list of tasks, and a list of running tasks."""

    put = b"*3\r\n$5\r\nLPUSH\r\n$1\r\nq\r\n$%d\r\n%b\r\n" % (len(BODY), BODY)
    get = b"*5\r\n$5\r\nLMOVE\r\n$1\r\nq\r\n$1\r\nw\r\n$5\r\nRIGHT\r\n$4\r\nLEFT\r\n"
    tasks = 1
    _done = b"*4\r\n$4\r\nLREM\r\n$1\r\nw\r\n$1\r\n1\r\n$%d\r\n%b\r\n" % (len(BODY), BODY)

    def done(self, answer: bytes) -> bytes:
        return self._done

    def complete(self, answer: bytes) -> bool:
        if not answer.endswith(b"\r\n"):
            return False
        if answer.startswith(b"$-1") or answer[:1] not in b":$":
            raise ValueError(answer[:300])
        return answer[:1] == b":" or len(answer) >= len(BODY) + 6


SPEAKERS: dict[str, type[Speaker]] = {
    "http": Http,
    "http-batches": HttpBatches,
    "beanstalkd": Beanstalkd,
    "redis": Redis,
}


def check(port: int, speaker: Speaker) -> None:
    """Put a task and get it. Raise ValueError if another task comes back."""
    connection = Connection(port, speaker, cycle=True)
    for _ in range(2):
        connection.send(connection.answer or None)
        while not speaker.complete(connection.answer):
            connection.answer += connection.socket.recv(65536)
    if BODY not in connection.answer:
        raise ValueError(f"not what was put: {connection.answer[-300:]!r}")
    connection.send(connection.answer)
    while not speaker.complete(connection.answer):
        connection.answer += connection.socket.recv(65536)


def talk(speaker: Speaker, cycle: bool) -> Iterator[bytes]:
    """Yield the requests of one connection. It receives the responses."""
    while True:
        yield speaker.put
        if cycle:
            answer: Any = yield speaker.get
            yield speaker.done(answer)


class Connection:
    """A connection with one request at a time."""

    def __init__(self, port: int, speaker: Speaker, cycle: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.talk: Any = talk(speaker, cycle)
        self.answer, self.sent = b"", 0.0

    def send(self, answer: bytes | None) -> None:
        self.socket.sendall(self.talk.send(answer))
        self.answer, self.sent = b"", time.perf_counter()


def sockets(
    ports: Sequence[int], speaker: Speaker, count: int, seconds: float, cycle: bool, limit: int
) -> list[float]:
    """
    Send requests for C{seconds}, or until C{limit} responses have arrived. Return how long each took.

    @param ports: the ports of the servers, which share the connections.
    """
    poll, took = select.epoll(), []
    connections = {}
    for number in range(count):
        connection = Connection(ports[number % len(ports)], speaker, cycle)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    for connection in connections.values():
        connection.send(None)
    end, now = time.perf_counter() + seconds, 0.0
    while now < end and not 0 < limit <= len(took):
        for fileno, _ in poll.poll(10):
            connection = connections[fileno]
            connection.answer += connection.socket.recv(65536)
            if not connection.answer:
                raise ValueError("the server has closed a connection")
            if speaker.complete(connection.answer):
                now = time.perf_counter()
                took.append(now - connection.sent)
                connection.send(connection.answer)
    for connection in connections.values():
        connection.socket.close()
    return took


class Manager(BaseManager):
    """The client of a queue that C{multiprocessing.managers} serves."""


Manager.register("queue")


def managed(port: int, count: int, seconds: float, cycle: bool) -> list[float]:
    """Like L{sockets}, with proxies of C{multiprocessing.managers} in threads."""
    took: list[float] = []

    def work() -> None:
        manager = Manager(("127.0.0.1", port), AUTHKEY)
        manager.connect()
        queue: Any = manager.queue()  # type: ignore[attr-defined]
        asked = (lambda: queue.put(BODY), queue.get, queue.task_done) if cycle else (lambda: queue.put(BODY),)
        end, now = time.perf_counter() + seconds, time.perf_counter()
        while now < end:
            for ask in asked:
                began = now
                ask()
                now = time.perf_counter()
                took.append(now - began)

    threads = [Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def main(name: str, port: str, count: str, seconds: str, what: str, limit: str = "0") -> None:
    """
    Print the figures.

    @param port: the port of the server, or the ports of several, separated by commas.
    @param what: C{put}, C{cycle} (put, get and done in turn), or C{check} (that the same task comes back).
    @param limit: the number of responses; 0 for no limit.
    """
    ports = [int(each) for each in port.split(",")]
    if what == "check" and name != "managers":
        check(ports[0], SPEAKERS[name]())
    began, cycle = time.perf_counter(), what != "put"
    if name == "managers":
        took = managed(ports[0], int(count), float(seconds), cycle)
    else:
        took = sockets(ports, SPEAKERS[name](), int(count), float(seconds), cycle, int(limit))
    spent = time.perf_counter() - began
    took.sort()
    tasks = 1 if name == "managers" else SPEAKERS[name].tasks
    figures = {
        "requests/s": len(took) / spent,
        "tasks/s": tasks * len(took) / 3 / spent if cycle else tasks * len(took) / spent,
        "p50 us": took[len(took) // 2] * 1e6,
        "p99 us": took[len(took) * 99 // 100] * 1e6,
        "load's cpu": time.process_time() / spent,
        "errors": 0,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
