"""The programs of the hosts: an application that takes orders, and the function of the workers.

In the environment, QUEUES is the address of TQueueSrv, and TQUEUE_TOKEN is its token.
"""

import os

from twisted_appserver.tqueue.client import Queue

URL = os.environ["QUEUES"]
ranges = Queue(url=URL, name="ranges", patience=30)
counts = Queue(url=URL, name="counts", patience=30)


def order(start: int, end: int):
    """Order a count of the primes from start to end."""
    ranges.put({"start": start, "end": end}, timeout=10)
    return {"ordered": start}


def count(task):
    """
    Count the primes of a task. If the host is cut off, this may run twice for one task, so the result
    contains the start of the range.
    """
    primes = sum(
        all(number % factor for factor in range(2, int(number**0.5) + 1))
        for number in range(max(task["start"], 2), task["end"])
    )
    counts.put({"start": task["start"], "primes": primes})


url_patterns = ((r"/order/(?P<start>)/(?P<end>)/", order),)
