"""Functions of every bad habit. Each notes its run in the file that C{RUNS} names, before anything else."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

from twisted_appserver import Route

# One descriptor for each process, however often this is imported anew.
_flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_file = sys.__dict__.get("_runs") or os.open(os.environ.get("RUNS", os.devnull), _flags)
sys.__dict__["_runs"] = _file
_kept: list[bytes] = []


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


url_patterns = tuple(
    Route(rf"/{function.__name__}/(?P<number>\d+)", function, timeout=1.0 if function is hangs else None)
    for function in (quick, slow, large, prints, leaks, raises, hangs, crashes)
)
