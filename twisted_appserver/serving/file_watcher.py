"""Watch the application's files and reload them when they are saved (C{--reload})."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from twisted_appserver.errors import require_package
from twisted_appserver.settings import Settings

DEBOUNCE = 100  # milliseconds; changes within this time cause one reload


def prepare_to_watch(settings: Settings) -> None:
    """
    With C{--reload}, keep this process, and the processes that it starts from now on, from writing bytecode.

    Python compares the time in seconds and the size to decide if bytecode is up to date. A file that is saved
    twice within a second may have the same size, and the old code would be loaded again.
    """
    if settings.reload:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def watch_files(folder: str, reactor: Any, reload: Callable[[], object]) -> None:
    """
    Call C{reload} in the reactor's thread whenever a Python file in a folder changes, until the
    reactor stops.

    @raise ConfigurationError: when the extra C{reload} is not installed.
    """
    require_package("watchfiles", "--reload", "reload")
    from watchfiles import PythonFilter, watch

    stop = Event()

    def run() -> None:
        changes = watch(
            folder,
            watch_filter=PythonFilter(),
            stop_event=stop,
            step=DEBOUNCE // 2,
            debounce=DEBOUNCE,
        )
        for _ in changes:
            reactor.callFromThread(reload)

    reactor.addSystemEventTrigger("before", "shutdown", stop.set)
    Thread(target=run, name="appserver-reload", daemon=True).start()
