"""Functions for the processes of a worker, which import this module."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

from twisted_appserver import GiveUp
from twisted_appserver.tqueue import current_task, report_progress
from twisted_appserver.tqueue.client import current_trace


def act(task: dict[str, Any]) -> Any:
    """Do what a task requires."""
    return globals()[f"do_{task['do']}"](**{name: value for name, value in task.items() if name != "do"})


def do_pid() -> int:
    return os.getpid()


def do_current() -> Any:
    return tuple(current_task())


def do_return(value: Any) -> Any:
    return value, {"value": value}


def do_report(value: Any, seconds: float = 60.0) -> None:
    report_progress(value)
    time.sleep(seconds)


def do_object() -> Any:
    return object()


def do_raise() -> None:
    raise KeyError("color")


def do_give_up() -> None:
    raise GiveUp("no such customer")


def do_exit(status: int) -> None:
    os._exit(status)


def do_signal(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def do_hang() -> None:
    time.sleep(60)


def do_hang_in_c() -> None:
    """Hang without releasing the interpreter's lock, so that no thread of the process can run."""
    ctypes.PyDLL(None).sleep(60)


def do_leave_a_child(until: str) -> None:
    """
    End while a child lives, which has inherited everything, and ends when a file exists. It is forked as C
    libraries do it, without the hooks of Python.
    """
    if ctypes.PyDLL(None).fork() == 0:
        while not os.path.exists(until):
            time.sleep(0.05)
        os._exit(0)
    os._exit(4)


def do_change_signals() -> None:
    """Leave an alarm that would end the process during the next task."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.3)


def do_sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def do_trace() -> Any:
    return current_trace()
