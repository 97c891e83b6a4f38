"""
Functions that misbehave in many ways. Each first records its run in the file that C{RUNS} names.

If C{MIXED} is in the environment, some of them run in worker processes of a threaded server.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from twisted_appserver import Route


def _opened(suffix: str) -> int:
    """Open a file once for each process, however often this module is imported again."""
    path = os.environ["RUNS"] + suffix if "RUNS" in os.environ else os.devnull
    if path not in sys.__dict__:
        sys.__dict__[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    return int(sys.__dict__[path])


_file, _streams = _opened(""), _opened("-streams")
_kept: list[bytes] = []
PARTS = 200  # parts of a stream


def _note(number: int) -> None:
    os.write(_file, b"%d\n" % number)


def quick(number: int) -> dict[str, Any]:
    _note(number)
    return {"number": number, "double": 2 * number}


def slow(number: int) -> dict[str, Any]:
    _note(number)
    time.sleep(number % 50 / 1000)
    return {"number": number, "double": 2 * number}


def large(number: int) -> dict[str, Any]:
    _note(number)
    return {"number": number, "double": 2 * number, "text": "x" * 200_000}


def prints(number: int) -> dict[str, Any]:
    _note(number)
    print("no frame \x00\x00\x00\x02", number, end="")
    os.write(1, b"\x00\x00\x00\x05 to descriptor 1\n")
    print(number, file=sys.stderr)
    return {"number": number, "double": 2 * number}


def leaks(number: int) -> dict[str, Any]:
    _note(number)
    _kept.append(bytes(1_000_000))
    return {"number": number, "double": 2 * number}


def raises(number: int) -> dict[str, Any]:
    _note(number)
    raise ZeroDivisionError(number)


def hangs(number: int) -> dict[str, Any]:
    _note(number)
    time.sleep(2.5)
    return {}


def crashes(number: int) -> dict[str, Any]:
    _note(number)
    if number % 2:
        os._exit(3)
    ctypes.string_at(0)
    return {}


def measures(number: int, text: str) -> dict[str, Any]:
    _note(number)
    return {"number": number, "size": len(text)}


def streams(number: int) -> Iterator[dict[str, Any]]:
    """Record the beginning and the end in another file."""
    os.write(_streams, b"begun\n")
    try:
        for part in range(PARTS):
            yield {"part": part, "text": "x" * 1000}
    finally:
        os.write(_streams, b"ended\n")


HEAVY = (quick, large, leaks, hangs, crashes, streams) if "MIXED" in os.environ else ()

url_patterns = tuple(
    Route(
        rf"/{function.__name__}/(?P<number>\d+)",
        function,
        executor="processes" if function in HEAVY else None,
        timeout=1.0 if function is hangs else None,
    )
    for function in (quick, slow, large, prints, leaks, raises, hangs, crashes, measures, streams)
)
