"""
Call the C{cpu} function without any server.

C{bare.py SECONDS} calls it in a loop for this time, and prints the number of calls.  C{bare.py calibrate
MILLISECONDS} prints how many of its loops take this time.
"""

import sys
import time

import work

TRIAL = 200_000


def calibrate(milliseconds: float) -> int:
    """Return how many loops take this time, at best."""
    work.CPU_LOOPS = TRIAL
    spent = []
    for _ in range(9):
        start = time.process_time()
        work.cpu()
        spent.append(time.process_time() - start)
    return round(TRIAL * milliseconds / 1000 / min(spent))


def count(seconds: float) -> int:
    """Return how many calls are done in this time."""
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
