"""
The servers: ours in several variants, and alternatives for the same work.

Each runs as its documentation shows it, with its own JSON encoder, without access logs, and with as many
threads or processes as ours.  If necessary, time limits on idle connections are raised for the
C{idle} group.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

UVICORN = (
    "{bin}/uvicorn --host 127.0.0.1 --port {port} --loop uvloop --http httptools"
    " --no-access-log --log-level warning --backlog 2048 --timeout-keep-alive 120"
)
GUNICORN = (
    "{bin}/gunicorn --bind 127.0.0.1:{port} --backlog 2048 --log-level warning"
    " --keep-alive 120 --worker-connections 20000"
)
GRANIAN = (
    "{bin}/granian --interface wsgi --host 127.0.0.1 --port {port} --http 1 --no-ws"
    " --log-level warning --backlog 20000"
)


@dataclass(frozen=True)
class Server:
    """
    A server that can be started.

    @ivar name: its name on the command line and in the results.
    @ivar title: its title in the report.
    @ivar command: its command line, with the placeholders C{{bin}}, C{{port}}, C{{threads}}, C{{workers}}
        and C{{folder}}.
    @ivar speaker: its protocol in C{queue_load.py}, if it is a queue.
    @ivar clients: the number of connections, if it is a queue.
    @ivar place: where its functions run: C{thread} (several of one process), C{one-thread},
        C{inline} (in the thread that serves HTTP), C{process} (a pool of processes behind the process
        that serves HTTP), C{prefork} (several processes that each serve HTTP), C{bare} (without a
        server) or C{queue} (a queue runs no functions).
    @ivar threads: the number of threads, unless the workload sets another.
    @ivar environment: more variables for its application.
    @ivar ours: whether it is this package.
    """

    name: str
    title: str
    command: str
    place: str = "thread"
    threads: int = 10
    environment: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    speaker: str = ""
    clients: int = 32

    @property
    def alone(self) -> bool:
        """Return whether the server has its own core, and the load generator another one."""
        return self.place in ("thread", "one-thread", "inline", "queue")


def our(name: str, title: str, place: str, **environment: str) -> Server:
    """Make an entry for a variant of our server."""
    command = "{bin}/python ours.py"
    return Server(name, title, command, place, environment=environment, ours=True)


def queue(name: str, title: str, command: str, speaker: str = "http", clients: int = 32) -> Server:
    """Make an entry for a queue, which has its own core."""
    return Server(name, title, command, "queue", speaker=speaker, clients=clients, ours=speaker == "http")


TQUEUE = "{bin}/twistd -n --pidfile= tqueuesrv --port {port} --store "

SERVERS = (
    our("threads", "**ours, threads**", "thread", BENCH_VARIANT="threads"),
    our("inline", "ours, inline route", "inline", BENCH_VARIANT="inline"),
    our("limit", "ours, a constant inline (limit)", "inline", BENCH_VARIANT="limit"),
    our(
        "threads-twisted",
        "ours, threads, twisted.web's channel",
        "thread",
        BENCH_VARIANT="threads",
        BENCH_CHANNEL="twisted",
    ),
    our("processes", "**ours, processes**", "process", BENCH_VARIANT="processes"),
    Server(
        "granian",
        "Granian WSGI, blocking threads",
        GRANIAN + " --workers 1 --blocking-threads {threads} wsgi_app:app",
        threads=8,
    ),
    Server("sanic", "Sanic + run_in_executor", "{bin}/python sanic_app.py"),
    Server("aiohttp", "aiohttp + run_in_executor, uvloop", "{bin}/python aiohttp_app.py"),
    Server("robyn", "Robyn (one thread)", "{bin}/python robyn_app.py --log-level ERROR", "one-thread"),
    Server("starlette", "Starlette `def`, uvicorn", UVICORN + " starlette_app:app"),
    Server("twisted-web", "twisted.web + deferToThread", "{bin}/python twisted_app.py"),
    Server("bottle", "Bottle, waitress", "{bin}/python bottle_app.py"),
    Server("klein", "Klein + deferToThread", "{bin}/python klein_app.py"),
    Server("fastapi", "FastAPI `def`, uvicorn", UVICORN + " fastapi_app:app"),
    Server(
        "flask",
        "Flask, gunicorn gthread",
        GUNICORN + " --workers 1 --worker-class gthread --threads {threads} flask_app:app",
    ),
    Server(
        "granian-workers",
        "Granian WSGI, workers",
        GRANIAN + " --workers {workers} --blocking-threads {threads} wsgi_app:app",
        "prefork",
        threads=8,
    ),
    Server(
        "uvicorn-workers",
        "FastAPI `def`, uvicorn workers",
        UVICORN + " --workers {workers} fastapi_app:app",
        "prefork",
    ),
    Server(
        "aiohttp-pool",
        "aiohttp + ProcessPoolExecutor, uvloop",
        "{bin}/python aiohttp_app.py",
        "process",
    ),
    Server(
        "gunicorn-workers",
        "Flask, gunicorn sync workers",
        GUNICORN + " --workers {workers} flask_app:app",
        "prefork",
    ),
    Server("fastapi-pool", "FastAPI + ProcessPoolExecutor", UVICORN + " fastapi_app:app", "process"),
    queue("tqueue-memory", "**TQueueSrv, memory**", TQUEUE + "memory:"),
    queue("tqueue-sqlite", "**TQueueSrv, SQLite**", TQUEUE + "sqlite:{folder}/tasks.db"),
    queue(
        "tqueue-postgresql",
        "**TQueueSrv, PostgreSQL**",
        "{bin}/python tqueue_postgresql.py {port} {folder}",
    ),
    queue("beanstalkd", "beanstalkd -f0", "beanstalkd -l 127.0.0.1 -p {port} -b {folder} -f0", "beanstalkd"),
    queue(
        "redis",
        "Redis, appendfsync always",
        "redis-server --bind 127.0.0.1 --port {port} --dir {folder} --appendonly yes --appendfsync always",
        "redis",
    ),
    queue("managers", "multiprocessing.managers", "{bin}/python managers_queue.py", "managers", clients=8),
    Server("bare", "bare processes in a loop, no server", "{bin}/python bare.py", "bare"),
)

BY_NAME = {server.name: server for server in SERVERS}
