"""What a scenario takes place on: a database, two servers, and clients of one queue."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack

from tests.support.postgres import PostgreSQL
from tests.support.queue_processes import LOADS
from tests.support.queue_server import Server
from tests.tqueue.pressure.dead_rows import DeadRows
from tests.tqueue.pressure.load import Load
from tests.tqueue.pressure.other_work import OtherWork
from tests.tqueue.pressure.rates import Rates
from twisted_appserver.tqueue.client import Queue

ROLE = "tqueue"  # the role of the servers, which is no superuser
MAXSIZE = 1000  # tasks that may wait; producers wait for room
SERVERS = 2
CONNECTIONS = 30  # of the database, for pool exhaustion
# Vacuum comes often, so that a short run shows which rows it cannot remove.
SETTINGS = (f"max_connections={CONNECTIONS}", "autovacuum_naptime=5s")
CHECK_INTERVAL = 0.25  # seconds between two looks at the clients and the rates
DRAIN_LIMIT = 300.0  # seconds


class NotDrained(Exception):
    """Raised when tasks stay in a queue."""


def start_database() -> PostgreSQL:
    """Start PostgreSQL with a role for the servers."""
    database = PostgreSQL(fsync=True, settings=SETTINGS).start()
    database.ask(f"CREATE ROLE {ROLE} LOGIN")
    return database


class Stage:
    """
    Two servers over a new database, and a load, as a context manager.

    @param kind: what is put, one of L{tests.support.queue_processes.LOADS}.
    @param patience: seconds for which clients repeat a request.
    @param rate: tasks per second that are usually put; infinity for as many as possible.
    @ivar url: how the servers connect to their database.
    @ivar name: the name of their database.
    @ivar steady: tasks per second before the disturbance.
    @ivar disturbed, ended: when the disturbance began and ended; 0 until then.
    """

    def __init__(self, database: PostgreSQL, kind: str, patience: float, rate: float, seed: int) -> None:
        self.database, self.usual_rate = database, rate
        self.steady, self.disturbed, self.ended = 0.0, 0.0, 0.0
        with ExitStack() as stack:
            self.folder = stack.enter_context(tempfile.TemporaryDirectory())
            self.url = database.database(ROLE)
            self.name = self.url.rpartition("/")[2]
            stack.callback(self._drop)
            self.servers = [Server(self.url) for _ in range(SERVERS)]
            for server in self.servers:
                server.start()
                stack.callback(self._kill, server)
            self.queue = Queue(MAXSIZE, self.servers[0].url, "pressure", patience=patience)
            stack.callback(self.queue.close)
            self.queue.config(at_once=LOADS[kind].at_once, max_deliveries=0)
            self.dead_rows = DeadRows(database, self.name)
            stack.callback(self.dead_rows.close)
            self.other_work = OtherWork()
            stack.callback(self.other_work.close)
            records = os.path.join(self.folder, "records")
            os.mkdir(records)
            self.records, self.rates = records, Rates(records)
            urls = [server.url for server in self.servers]
            self.load = Load(urls, "pressure", kind, records, patience, seed)
            stack.callback(self.load.kill)
            self.load.set_rate(rate)
            self._stack = stack.pop_all()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def _kill(server: Server) -> None:
        if server.process is not None and server.process.poll() is None:
            server.kill()

    def _drop(self) -> None:
        self.database.ask(f"DROP DATABASE {self.name} WITH (FORCE)")

    def pause(self, seconds: float) -> None:
        """
        Wait, and read the records meanwhile.

        @raise LoadFailed: when a client fails.
        """
        end = time.time() + seconds
        while (left := end - time.time()) > 0:
            time.sleep(min(left, CHECK_INTERVAL))
            self.load.check()
            self.rates.read()

    def end_disturbance(self) -> None:
        """Note that the disturbance has ended now, unless that was noted before."""
        self.ended = self.ended or time.time()

    def set_maxsize(self, maxsize: int) -> None:
        """
        @param maxsize: how many tasks may wait; 0 for no limit.
        """
        self.queue.config(maxsize=maxsize)

    def drain(self) -> None:
        """
        Wait until no more tasks wait than usual.

        @raise NotDrained: when that takes too long.
        """
        end = time.time() + DRAIN_LIMIT
        while (size := self.queue.qsize()) > MAXSIZE // 2:
            self.pause(CHECK_INTERVAL)
            if time.time() > end:
                raise NotDrained(f"{size} tasks still wait after {DRAIN_LIMIT:.0f} s")

    def terminate_backends(self) -> None:
        """Terminate the connections of the servers."""
        self.database.ask(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}' "
            "AND application_name = 'tqueuesrv'"
        )
