"""Groups keep their order while the server is killed."""

from __future__ import annotations

import contextlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Empty
from threading import Event, Lock

from twisted.trial.unittest import SynchronousTestCase

from tests.support.files import sqlite_store
from tests.support.queue_server import Server
from tests.support.slow import slow
from twisted_appserver.tqueue.client import LeaseLost, Queue

GROUPS, TASKS, WORKERS, KILLS = 3, 60, 4, 4


class KillTests(SynchronousTestCase):
    @slow
    def test_order_is_kept_when_the_server_is_killed(self) -> None:
        """A task is handed out only when all tasks of its group before it are done."""
        server = Server(sqlite_store(self)).start()
        self.addCleanup(lambda: server.kill())
        queue = Queue(0, server.url, "q", patience=60.0)
        queue.config(max_deliveries=0)
        for number in range(TASKS):
            queue.put_task({"n": number}, group=f"g{number % GROUPS}")
        self.open = [list(range(group, TASKS, GROUPS)) for group in range(GROUPS)]
        self.lock, over = Lock(), Event()
        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                working = [pool.submit(self.work, server.url, seed, over) for seed in range(WORKERS)]
                for _ in range(KILLS):
                    time.sleep(0.3)
                    server.kill()
                    server.start()
                for each in working:
                    each.result(60)
            finally:
                over.set()
        self.assertEqual(self.open, [[]] * GROUPS)

    def work(self, url: str, seed: int, over: Event) -> None:
        """Finish tasks, or give them back, and check that each is the next one of its group."""
        queue, choice = Queue(0, url, "q", patience=60.0), random.Random(seed)
        while any(self.open) and not over.is_set():
            with contextlib.suppress(Empty):
                leased = queue.get_task(timeout=0.2)
                number = leased["task"]["n"]
                line = self.open[number % GROUPS]
                with self.lock:
                    self.assertEqual(line[0], number)
                time.sleep(choice.random() / 20)
                name = {"task_id": leased["task_id"], "delivery": leased["delivery"]}
                with contextlib.suppress(LeaseLost):  # the server was killed after it had committed
                    if choice.random() < 0.2:
                        queue.release(**name)
                        continue
                    with self.lock:
                        line.remove(number)
                    queue.done(**name)
        queue.close()
