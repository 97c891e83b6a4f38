"""Ends a worker process whose server is gone, even in the middle of a function."""

from __future__ import annotations

import os
import select
from threading import Thread
from time import sleep

PAUSE = 0.05  # seconds between two checks whether the server lives, after its pipe was closed


def watch(inbound: int) -> None:
    """
    Start a thread that watches the pipe from the server. Without poll(), as on Windows, a worker notices the
    end of its server only when its function returns.

    @param inbound: the descriptor of the pipe.
    """
    if hasattr(select, "poll"):
        Thread(target=_watch, args=(inbound, os.getppid()), name="appserver-watchdog", daemon=True).start()


def _watch(inbound: int, server: int) -> None:
    poll = select.poll()
    poll.register(inbound, 0)  # Only the end of the pipe wakes this thread.
    poll.poll()
    while os.getppid() == server:  # The server has only closed the pipe; the worker exits by itself.
        sleep(PAUSE)
    os._exit(1)
