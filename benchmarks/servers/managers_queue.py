"""A queue of the standard library, served by C{multiprocessing.managers}."""

import os
from multiprocessing.managers import BaseManager
from queue import Queue

QUEUE: Queue[bytes] = Queue()


class Manager(BaseManager):
    """A manager of one queue."""


Manager.register("queue", callable=lambda: QUEUE)

if __name__ == "__main__":
    address = ("127.0.0.1", int(os.environ["BENCH_PORT"]))
    Manager(address, b"benchmark").get_server().serve_forever()
