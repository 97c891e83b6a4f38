"""Tests queues under random faults: producers and consumers record each step, and the records must agree.

Usage: python -m tests.support.queue_faults --minutes 10 --seed 1 [--lying] [--postgresql] [--hosts]

Server, producers and consumers are killed and frozen, connections are cut in the middle of responses, the
disk is filled, and the clock of servers and database is set forward and back. There are several queues, see
L{tests.support.queue_processes.LOADS}: one without and two with groups, and two with unique keys. After each
round L{Records.check} and L{tests.support.queue_rules} compare the records. With C{--lying} the server
responds before it commits, and the test must fail. With C{--postgresql} two servers share one database, which
is stopped again and again. With C{--hosts} (as root on Linux) each of these three is a host in a virtual
network and is cut off at times.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from examples.hosts.network import Network
from tests.support.fake_clock import FakeClock
from tests.support.postgres import PostgreSQL
from tests.support.queue_processes import BACKOFF, LEASE, LOADS, MAXSIZE
from tests.support.queue_records import Records, RecordsDisagree
from tests.support.queue_rules import check_groups, check_keys, check_pauses
from tests.support.queue_server import ROOT, Server
from twisted_appserver.tqueue.client import Queue

ROUND = 30.0  # seconds
HOUR = 3600  # seconds
LATE = 120.0  # seconds after the last fault in which all tasks must be done
SERVER = "from tests.support import fake_clock; fake_clock.use(); from {} import run; run()"
DISK = 48  # MiB of the small file system, if one can be mounted


class FaultRun:
    """The servers, producers, consumers and the proxy of one run, and the faults that hit them."""

    def __init__(
        self, folder: str, seed: int, lying: bool = False, postgresql: bool = False, hosts: Sequence[Any] = ()
    ) -> None:
        self.random, self.folder, self.small, self.hosts = random.Random(seed), folder, False, hosts
        self.database: PostgreSQL | None = None
        self.faults = list(self.FAULTS)
        os.chmod(folder, 0o755)  # the user of the database reads its clock there
        self.clock = FakeClock(folder)
        if postgresql:
            own = {"address": hosts[-1].address, "prefix": hosts[-1].prefix} if hosts else {}
            self.database = PostgreSQL(fsync=True, environ=self.clock.preloaded, **own).start()
            self.faults += [FaultRun.stop_database] * 2 + [FaultRun.cut_off] * 3 * bool(hosts)
            store = self.database.database()
        else:
            self._mount()
            store = f"sqlite:{self.disk}/tasks.db"
        server = "tests.support.lying" if lying else "twisted.scripts.twistd"
        self.servers = [
            Server(store, script=("-c", SERVER.format(server)), host=host, environ=self.clock.environ).start()
            for host in hosts[:2] or [None] * (1 + postgresql)
        ]
        self.counts: Counter[str] = Counter()
        self.processes: list[tuple[str, str, subprocess.Popen[bytes]]] = []
        self.jumps: list[tuple[float, float]] = []  # before and after the clock was set
        self.proxy = subprocess.Popen(
            [sys.executable, "-m", "tests.support.cutting_proxy", self.server.url, str(seed)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self.proxy.stdout is not None
        self.cut_url = f"http://127.0.0.1:{int(self.proxy.stdout.readline())}"

    def _mount(self) -> None:
        self.disk = os.path.join(self.folder, "disk")
        os.mkdir(self.disk)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", self.disk]
        self.small = subprocess.run(mount, capture_output=True).returncode == 0
        if not self.small:
            print("no small file system can be mounted: the disk is never full")

    @property
    def server(self) -> Server:
        """One of the servers, at random."""
        return self.random.choice(self.servers)

    def start_process(self, role: str, load: str) -> None:
        self.counts[role] += 1
        path = os.path.join(self.records, load, f"{role}-{self.counts[role]}")
        url = self.random.choice((self.server.url, self.cut_url))
        arguments = [role, url, f"{self.name}-{load}", load, path, str(self.random.random())]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.queue_processes", *arguments], cwd=ROOT
        )
        self.processes.append((role, load, process))

    def round(self, number: int, seconds: float) -> None:
        """Cause faults for a while, wait until all tasks are done, and compare the records."""
        self.name, self.records = f"round-{number}", os.path.join(self.folder, f"records-{number}")
        self.queues = {load: self._begin(load) for load in LOADS}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.random.uniform(0.1, 1.2))
            self.random.choice(self.faults)(self)
            self._check_size(self.queues[self.random.choice(list(LOADS))])
        self.stop_processes("produce")
        for load, queue in self.queues.items():
            if not queue.join(LATE):
                raise RecordsDisagree(f"queue {load}: not done after {LATE} seconds: {queue.stats()}")
        self.stop_processes("consume")
        for load, queue in self.queues.items():
            self._check(load, queue)
            queue.delete()
            queue.close()

    def _begin(self, load: str) -> Queue:
        """Make the queue of a load, and start its producers and consumers."""
        os.makedirs(os.path.join(self.records, load))
        queue = Queue(MAXSIZE, self.server.url, f"{self.name}-{load}", patience=60.0)
        queue.qsize()
        keep = {"max_deliveries": 0, "keep": 24 * HOUR, "keep_count": 10_000_000}
        queue.config(at_once=LOADS[load].at_once, **keep, **BACKOFF)
        for role in ("produce", "consume") * LOADS[load].processes:
            self.start_process(role, load)
        return queue

    def _check_size(self, queue: Queue) -> None:
        fresh = [task for task in queue.peek(10 * MAXSIZE) if not task["deliveries"]]
        if len(fresh) > MAXSIZE:
            raise RecordsDisagree(f"{len(fresh)} tasks wait, but only {MAXSIZE} are allowed")

    def _check(self, load: str, queue: Queue) -> None:
        """Compare the records of a queue."""
        records = Records.read(os.path.join(self.records, load))
        try:
            records.check(self.counts)
            if LOADS[load].groups:
                check_groups(records, LOADS[load].at_once, self.counts)
            else:
                records.check_order(self.counts)
            check_keys(records, self.counts)
            check_pauses(records, self.jumps, self.counts)
            records.check_results(queue, self.counts)
        except RecordsDisagree as error:
            raise RecordsDisagree(f"queue {load}: {error}") from None

    def stop_processes(self, role: str) -> None:
        for *_, process in (leaving := [each for each in self.processes if each[0] == role]):
            process.terminate()
        for *_, process in leaving:
            if process.wait(90) not in (0, -signal.SIGTERM):
                raise RecordsDisagree(f"a process that runs {role} has failed")
        self.processes = [each for each in self.processes if each[0] != role]

    def kill_server(self) -> None:
        self.counts["server killed"] += 1
        server = self.server
        server.kill()
        time.sleep(self.random.uniform(0, 0.2))
        server.start()

    def stop_database(self) -> None:
        assert self.database is not None
        self.counts["database stopped"] += 1
        self.database.stop("immediate")
        time.sleep(self.random.uniform(0, 2.0))
        self.database.start()

    def cut_off(self) -> None:
        """Cut off the host of a server or of the database: its packets are lost silently."""
        host = self.random.choice(self.hosts)
        self.counts[f"{host.name.rpartition('-')[2]} cut off"] += 1
        host.cut()
        time.sleep(self.random.choice((self.random.uniform(0, 2.0), self.random.uniform(2.0, 12.0))))
        host.mend()

    def kill_process(self) -> None:
        role, load, process = self.processes.pop(self.random.randrange(len(self.processes)))
        self.counts[f"{role} killed"] += 1
        process.kill()
        process.wait()
        self.start_process(role, load)

    def freeze_server(self) -> None:
        self.counts["server frozen"] += 1
        server = self.server
        server.signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0, 1.0))
        server.signal(signal.SIGCONT)

    def freeze_process(self) -> None:
        *_, process = self.random.choice(self.processes)
        self.counts["process frozen"] += 1
        process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.choice((0.1, 1.5 * LEASE)))
        process.send_signal(signal.SIGCONT)

    def set_clock(self) -> None:
        """Set the clock of servers and database an hour forward, an hour back, or right."""
        self.counts["clock set"] += 1
        before = time.time()
        self.clock.set(self.random.choice((HOUR, -HOUR, 0)))
        self.jumps.append((before, time.time()))

    def fill_disk(self) -> None:
        if not self.small:
            return
        self.counts["disk full"] += 1
        filler = os.path.join(self.disk, "filler")
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                if file.write(b"\0" * 65536) < 65536:
                    break
        time.sleep(self.random.uniform(0.2, 2.0))
        if self.random.random() < 0.3:
            self.kill_server()
        os.unlink(filler)

    FAULTS = (
        kill_server, kill_server, kill_process, kill_process, freeze_server, freeze_process, fill_disk,
        set_clock, set_clock,
    )  # fmt: skip

    def end(self) -> None:
        for *_, process in self.processes:
            process.kill()
            process.wait()
        for stopping in (self.proxy, *(server.process for server in self.servers)):
            if stopping is not None and stopping.poll() is None:
                stopping.kill()
                stopping.wait()
        if self.small:
            subprocess.run(["umount", self.disk], check=False)
        if self.database is not None:
            self.database.remove()


def main(
    minutes: float, seed: int, lying: bool = False, postgresql: bool = False, hosts: Sequence[Any] = ()
) -> Counter[str]:
    """
    @return: how often each event has happened.
    @raise RecordsDisagree: when the records do not agree.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = FaultRun(folder, seed, lying, postgresql, hosts)
        try:
            end, number = time.monotonic() + 60 * minutes, 0
            while (left := end - time.monotonic()) > 0:
                number += 1
                run.round(number, min(ROUND, left))
                print(f"round {number}:", dict(run.counts), flush=True)
        except RecordsDisagree:
            print(dict(run.counts), *(server.log[-20:] for server in run.servers), sep="\n")
            raise
        finally:
            run.end()
    return run.counts


def main_on_hosts(minutes: float, seed: int, lying: bool) -> None:
    """Like L{main}, but two servers, the database and the clients each run on a host of their own."""
    with Network(f"queue{os.getpid()}") as network:
        hosts = [network.host(name) for name in ("server1", "server2", "database")]
        network.host("clients").enter()
        main(minutes, seed, lying, True, hosts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Test queues under random faults.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--lying", action="store_true", help="with a server that responds before it commits")
    parser.add_argument("--postgresql", action="store_true", help="two servers over one PostgreSQL")
    parser.add_argument("--hosts", action="store_true", help="these on hosts that are cut off at times")
    given = parser.parse_args()
    print(f"seed {given.seed}")
    try:
        if given.hosts:
            main_on_hosts(given.minutes, given.seed, given.lying)
        else:
            main(given.minutes, given.seed, given.lying, given.postgresql)
    except RecordsDisagree as wrong:
        sys.exit(f"The records do not agree: {wrong}")
    print("the records agree")
