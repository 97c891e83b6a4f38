"""C{--reload}: code that is saved is served."""

from __future__ import annotations

import os
import sys
from threading import Event, Thread
from typing import Any

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.serving.service import AppService

PAUSE = 100  # milliseconds in which further changes are waited for


def watch(service: AppService, reactor: Any, reload: Any) -> None:
    """
    Call C{reload}, in the reactor's thread, whenever a Python file beside the application changes, until the
    reactor stops.

    @raise ConfigurationError: when the extra C{reload} is not installed.
    """
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        raise ConfigurationError("--reload needs: pip install 'twisted_appserver[reload]'") from None
    # A file saved twice in a second may be as long as before: its bytecode would pass for the new one's.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    stop = Event()

    def run() -> None:
        for _ in watch(
            service.folder, watch_filter=PythonFilter(), stop_event=stop, step=PAUSE // 2, debounce=PAUSE
        ):
            reactor.callFromThread(reload)

    reactor.addSystemEventTrigger("before", "shutdown", stop.set)
    Thread(target=run, name="appserver-reload", daemon=True).start()
