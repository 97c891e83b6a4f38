"""
Call the C{cpu} function without any server.

C{bare.py SECONDS} calls it in a loop for so long, and prints how often it did.  C{bare.py calibrate
MILLISECONDS} prints how many loops in it take so long.
"""

import sys
import time

import work

TRIAL = 200_000


def calibrate(milliseconds: float) -> int:
    """How many loops take so long, at best."""
    work.CPU_LOOPS = TRIAL
    spent = []
    for _ in range(9):
        start = time.process_time()
        work.cpu()
        spent.append(time.process_time() - start)
    return round(TRIAL * milliseconds / 1000 / min(spent))


def count(seconds: float) -> int:
    """How many calls are done in so long."""
    end = time.monotonic() + seconds
    calls = 0
    while time.monotonic() < end:
        work.cpu()
        calls += 1
    return calls


if __name__ == "__main__":
    if sys.argv[1] == "calibrate":
        print(calibrate(float(sys.argv[2])))
    else:
        print(count(float(sys.argv[1])))
