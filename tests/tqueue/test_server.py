"""A real server: when it syncs the disk, a full disk, and many waiting clients."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import threading

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.files import sqlite_store
from tests.support.queue_server import TWISTD, Server, wait_for
from tests.support.slow import slow
from twisted_appserver.tqueue.client import Queue
from twisted_appserver.tqueue.client.addresses import read_address
from twisted_appserver.tqueue.client.connections import Pool
from twisted_appserver.tqueue.client.request_keys import Keys
from twisted_appserver.tqueue.client.requests import QueueRequests

SYNC = re.compile(r"(?:fsync|fdatasync)\(\d+\)\s+= 0|<\.\.\. (?:fsync|fdatasync) resumed>\)\s+= 0")


class SyncTests(SynchronousTestCase):
    """A response leaves only after the disk has the change."""

    def setUp(self) -> None:
        if shutil.which("strace") is None:
            raise SkipTest("there is no strace")
        self.server = Server(sqlite_store(self)).start()
        self.addCleanup(self.server.kill)
        self.queue = Queue(0, self.server.url, "q")
        self.addCleanup(self.queue._pool.close)
        self.queue.qsize()
        assert self.server.process is not None
        self.trace = os.path.abspath(self.mktemp())
        calls = "trace=fsync,fdatasync,recvfrom,read,sendto,write,writev,sendmsg"
        self.strace = subprocess.Popen(
            ["strace", "-f", "-s", "300", "-e", calls, "-o", self.trace, "-p", str(self.server.process.pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.strace.stderr is not None
        self.addCleanup(self.strace.stderr.close)
        if "attached" not in self.strace.stderr.readline():
            self.strace.wait()
            raise SkipTest("strace may not attach to a process here")

    def lines(self) -> list[str]:
        self.strace.terminate()
        self.strace.wait()
        with open(self.trace) as file:
            return file.read().splitlines()

    def test_disk_is_synced_before_each_response(self) -> None:
        """For put, get and done."""
        self.queue.put("mark")
        self.queue.get()
        self.queue.task_done()
        events = []
        for line in self.lines():
            asked = re.search(r'"(?:GET|POST) /q/(put|get|done)', line)
            if asked:
                events.append(asked[1])
            elif SYNC.search(line) and events[-1:] != ["sync"]:
                events.append("sync")
            elif '"HTTP/1.1 200' in line:
                events.append("answer")
        self.assertEqual(events, ["put", "sync", "answer", "get", "sync", "answer", "done", "sync", "answer"])

    def test_concurrent_puts_share_commits(self) -> None:
        threads = [threading.Thread(target=lambda: [self.queue.put(n) for n in range(20)]) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        syncs = sum(bool(SYNC.search(line)) for line in self.lines())
        self.assertEqual(self.queue.qsize(), 640)
        self.assertLess(syncs, 320)


class FullTests(SynchronousTestCase):
    @slow
    def test_server_that_was_killed_with_a_full_disk_starts_with_all_tasks(self) -> None:
        """It accepts tasks again when there is space."""
        disk = os.path.abspath(self.mktemp())
        os.mkdir(disk)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True)
        if mount.returncode:
            raise SkipTest("no small file system can be mounted")
        self.addCleanup(subprocess.run, ["umount", "--lazy", disk], check=True)
        others = open(f"{disk}/others", "wb", buffering=0)  # noqa: SIM115 - closed below
        self.addCleanup(others.close)
        others.write(bytes(2 * 1024 * 1024))
        server = Server(f"sqlite:{disk}/tasks.db").start()
        self.addCleanup(server.kill)
        pool, requests = Pool(address := read_address(server.url)), QueueRequests(address, "q")
        self.addCleanup(pool.close)
        body = json.dumps({"long": 5_000 * "x"}).encode()
        keys, acknowledged = Keys(), 0

        def put() -> int:
            return pool.request(requests.put(body, keys.next())).status

        while (status := put()) == 200:
            acknowledged += 1
        self.assertEqual(status, 507)
        with contextlib.suppress(OSError):
            while others.write(bytes(4096)) == 4096:
                continue
        server.kill()
        server.start()
        self.assertEqual(json.loads(pool.request(requests.qsize()).body)["qsize"], acknowledged)
        self.assertEqual(put(), 507)
        others.truncate(0)
        wait_for(lambda: put() == 200)


class WaiterTests(SynchronousTestCase):
    COUNT = 10_000

    def resident(self) -> int:
        """Return the memory of the server in bytes."""
        assert self.server.process is not None
        with open(f"/proc/{self.server.process.pid}/status") as file:
            return 1024 * int(next(line for line in file if line.startswith("VmRSS")).split()[1])

    @slow
    def test_10000_waiting_clients_are_served_in_order(self) -> None:
        """Each of them takes at most 20 KiB."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < self.COUNT + 500 or not os.path.exists("/proc/self/status"):
            raise SkipTest("not so many files may be open, or there is no /proc")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        options = ["--max-connections", str(self.COUNT + 100)]
        self.server = Server(options=options, script=TWISTD).start()  # inherits the limit
        self.addCleanup(self.server.kill)
        queue = Queue(0, self.server.url, "q")
        self.addCleanup(queue._pool.close)
        queue.qsize()
        before, waiters = self.resident(), []
        for number in range(self.COUNT):
            waiter = socket.create_connection(("127.0.0.1", self.server.port))
            self.addCleanup(waiter.close)
            waiter.sendall(b"GET /q/get/?timeout=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            waiters.append(waiter)
            if number % 100 == 99:  # all hundred may arrive in one iteration of the reactor
                wait_for(lambda: queue.stats()["getters"] == len(waiters))
        each = (self.resident() - before) / self.COUNT
        print(f"{each:.0f} bytes for each waiter")
        self.assertLess(each, 20 * 1024)
        for number in range(self.COUNT):
            queue.put_task({"n": number})
        numbers = [self.answer(waiter) for waiter in waiters]
        self.assertEqual(sorted(numbers), list(range(self.COUNT)))
        # Clients of the same hundred may have arrived in any order.
        self.assertEqual([number // 100 for number in numbers], [n // 100 for n in range(self.COUNT)])

    def answer(self, waiter: socket.socket) -> int:
        waiter.settimeout(30)
        return int(json.loads(waiter.recv(65536).partition(b"\r\n\r\n")[2])["task"]["n"])
