"""Ends a worker process whose server is gone, also in the middle of a function."""

from __future__ import annotations

import os
import select
from threading import Thread
from time import sleep

PAUSE = 0.05  # seconds between the end of the pipe and the next look for the server


def watch(inbound: int) -> None:
    """
    Watch the pipe from the server, in a thread. Where there is no poll() (Windows), a worker notices the end
    of its server only when its function returns.

    @param inbound: its descriptor.
    """
    if hasattr(select, "poll"):
        Thread(target=_watch, args=(inbound, os.getppid()), name="appserver-watchdog", daemon=True).start()


def _watch(inbound: int, server: int) -> None:
    poll = select.poll()
    poll.register(inbound, 0)  # nothing but its end
    poll.poll()
    while os.getppid() == server:  # it lives, and has only closed the pipe: the worker ends by itself
        sleep(PAUSE)
    os._exit(1)
