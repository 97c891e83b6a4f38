"""
Workloads and the servers that each one measures.

Workloads of one group are measured in the same run of a server.  Ratios compare the first figure of a
workload.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PERSON = {"object_type": "person", "object_id": "123"}
POSTED = {f"field{number}": "x" * 88 for number in range(10)}

THREADS = (
    *("threads", "inline", "limit", "threads-twisted"),
    *("granian", "sanic", "aiohttp", "robyn", "starlette", "twisted-web", "bottle", "klein"),
    *("fastapi", "flask"),
)
FAST = ("threads", "inline", "granian", "sanic", "aiohttp", "robyn", "fastapi")
BODIES = ("threads", "granian", "sanic", "aiohttp", "robyn", "twisted-web", "fastapi", "flask")
PROCESSES = (
    *("processes", "granian-workers", "uvicorn-workers"),
    *("aiohttp-pool", "gunicorn-workers", "fastapi-pool"),
)


@dataclass(frozen=True)
class Workload:
    """
    What to measure, and with which servers.

    @ivar group: its name for C{--groups}.
    @ivar name: unique within the group.
    @ivar title: its title in the report.
    @ivar servers: the names of the servers; the first one is the reference for the others.
    @ivar figure: the name of its main figure in the results.
    @ivar better: whether C{more} or C{less} is better.
    @ivar kind: the function that measures it: C{plain}, C{mixed}, C{idle}, C{queue} or C{filled}.
    @ivar share: the length of a measurement, as a fraction of C{--seconds}.
    @ivar rounds: the maximum number of rounds.
    @ivar environment: variables for the application of the server.
    """

    group: str
    name: str
    title: str
    servers: tuple[str, ...]
    path: str = "/person/get/123/"
    expected: object = field(default_factory=lambda: PERSON)
    connections: int = 64
    script: str | None = None
    figure: str = "requests/s"
    better: str = "more"
    kind: str = "plain"
    share: float = 1.0
    rounds: int = 100
    environment: Mapping[str, str] = field(default_factory=dict)


def table(size: int) -> Workload:
    """Request the last pattern of a table with C{size} patterns."""
    return Workload(
        "patterns",
        f"last of {size}",
        f"The last of {size} patterns, 64 connections",
        ("threads", "starlette", "aiohttp", "bottle"),
        path=f"/table{size - 1}/person/123/",
        share=0.5,
        rounds=3,
        environment={"BENCH_PATTERNS": str(size)},
    )


def mixed(name: str, servers: tuple[str, ...]) -> Workload:
    """Make fast calls on 56 connections, beside calls on 8 connections that each sleep 50 ms."""
    return Workload(
        "mixed",
        name,
        f"Fast calls beside slow ones, {name}",
        servers,
        connections=56,
        figure="p99 ms, mixed",
        better="less",
        kind="mixed",
        share=0.67,
        environment={"BENCH_THREADS": "10", "BENCH_WORKERS": "12"},
    )


QUEUES = ("tqueue-sqlite", "tqueue-memory", "tqueue-postgresql", "beanstalkd", "redis", "managers")

WORKLOADS = (
    Workload("threads", "get", "Threads: GET, 64 connections", THREADS),
    Workload(
        "threads", "paths", "Threads: GET, a path that is never the same, 64 connections",
        ("threads", "inline", "granian", "aiohttp", "twisted-web", "fastapi"), script="paths.lua", share=0.67,
    ),
    Workload(
        "latency",
        "get, 1 connection",
        "Threads: GET, one connection",
        FAST,
        connections=1,
        figure="p50 us",
        better="less",
        share=0.67,
    ),
    Workload(
        "many", "get, 512 connections", "Threads: GET, 512 connections", FAST, connections=512,
        share=0.67,
    ),
    Workload(
        "bodies", "post", "Threads: POST of 1 KB of JSON, echoed, 64 connections", BODIES,
        path="/echo/", expected=POSTED, script="post.lua", share=0.67,
    ),
    Workload(
        "bodies", "large", "Threads: GET of a 100 KB answer, 64 connections", BODIES,
        path="/large/", expected=None, share=0.67,
    ),
    Workload("processes", "get", "Processes: GET, 64 connections", PROCESSES),
    Workload(
        "cpu",
        "cpu",
        "Processes: 2 ms of processor time per call, 64 connections",
        (*PROCESSES, "bare"),
        path="/cpu/",
        expected={"done": True},
        share=0.67,
    ),
    mixed("threads", ("threads", "granian", "aiohttp", "fastapi")),
    mixed("processes", ("processes", "gunicorn-workers", "aiohttp-pool")),
    table(1),
    table(50),
    table(500),
    Workload(
        "idle",
        "10,000 idle connections",
        "10,000 idle connections, and one that is active",
        ("threads", "granian", "aiohttp", "starlette"),
        figure="KB per connection",
        better="less",
        kind="idle",
        rounds=2,
        environment={"BENCH_CONNECTIONS": "20000"},
    ),
    Workload("queues", "puts", "Queues: puts", QUEUES, path="put", kind="queue"),
    Workload("queues", "cycles", "Queues: put, get and done in turn", QUEUES, path="cycle", kind="queue"),
    Workload(
        "queues",
        "batches",
        "Queues: put, get and done in turn, 32 tasks with each request",
        ("tqueue-sqlite", "tqueue-memory", "tqueue-postgresql"),
        path="batches",
        figure="tasks/s",
        kind="queue",
    ),
    Workload(
        "million",
        "a million tasks",
        "Queues: put, get and done in turn, with a million waiting tasks",
        ("tqueue-sqlite", "tqueue-memory", "tqueue-postgresql"),
        path="cycle",
        figure="empty/filled",
        better="less",
        kind="filled",
        rounds=1,
    ),
)  # fmt: skip

GROUPS = tuple(dict.fromkeys(workload.group for workload in WORKLOADS))
