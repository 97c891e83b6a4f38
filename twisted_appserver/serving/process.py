"""A server that is a program of its own: its signals, its limit of open files, and its end."""

from __future__ import annotations

import gc
import signal
from typing import Any

from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError
from twisted_appserver.serving.process_exit import HUNG, ending
from twisted_appserver.serving.reloader import watch
from twisted_appserver.serving.service import AppService
from twisted_appserver.settings import CLUSTER_SERVER, Settings

SPARE = 64  # descriptors besides those of connections: for the log, workers, and what functions open


def raise_files(settings: Settings) -> None:
    """Allow as many open files as connections and threads need, as far as the system lets us."""
    try:
        import resource
    except ImportError:  # Windows, where there is no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + 2 * settings.threads + SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def needs_asyncio(settings: Settings, router: Router) -> bool:
    """Whether Twisted must run on asyncio, as Dask does."""
    return settings.server_type == CLUSTER_SERVER or any(
        handler.executor == "cluster" for handler in router.handlers
    )


def reload_when_asked(service: AppService, reactor: Any, settings: Settings) -> None:
    """
    Load the application again at SIGHUP and, with C{--reload}, whenever a file of it is saved.

    @raise ConfigurationError: when files cannot be watched.
    """

    def begin() -> None:
        gc.unfreeze()  # so that the old code can go
        reloading = service.reload()
        reloading.addErrback(lambda failure: failure.trap(AppserverError) and None)  # which is logged
        reloading.addCallback(lambda _: settle())

    if settings.reload:
        watch(service, reactor, begin)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(begin))


def settle() -> None:
    """
    Leave all that there is after the start, the modules, classes and tables, out of later collections of
    garbage: a full one would look at each of these objects, and keep every call waiting for some 20 ms.
    """
    gc.collect()
    gc.freeze()


def leave(service: AppService, seconds: float = 0.0) -> None:
    """
    End the program though functions hang in threads, which Python waits for. Their calls have been given up.

    @param seconds: in which the program must end if no function hangs; 0 for no limit.
    """
    threads = service.dispatcher.executors.get("threads")
    if threads is not None and threads.running:
        service.log.warn("{n} functions hang in their threads; the program ends", n=threads.running)
        seconds = HUNG
    if seconds:
        ending.hasten(seconds)
