"""A server that has a process of its own: its signals, its limit of open files, and its exit."""

from __future__ import annotations

import gc
import signal
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_appserver.core.python_logging import pass_on_records
from twisted_appserver.errors import AppserverError
from twisted_appserver.executors.log_records import log_record
from twisted_appserver.serving.file_watcher import watch_files
from twisted_appserver.serving.process_exit import HANGING_TIMEOUT, exit_handler
from twisted_appserver.serving.stop_signals import StopHandlers
from twisted_appserver.settings import Settings

LAST_LINE = 0.5  # seconds to wait for the log when the process ends at once
SPARE_FILES = 64  # descriptors for all but connections: the log, workers, and files that functions open


def raise_file_limit(settings: Settings) -> None:
    """Raise the limit of open files to the number that connections and threads need, if possible."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_connections + 2 * settings.threads + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def install_reload_triggers(service: Any, reactor: Any, settings: Settings) -> None:
    """
    Reload the application on SIGHUP and, with C{--reload}, whenever one of its files is saved.

    @raise ConfigurationError: when files cannot be watched.
    """

    def reload() -> None:
        gc.unfreeze()  # otherwise the previous code would stay in memory
        reloading = service.reload()
        # The service has logged the error.
        reloading.addErrback(lambda failure: failure.trap(AppserverError) and None)
        reloading.addCallback(lambda _: take_over())

    if settings.reload:
        watch_files(service.folder, reactor, reload)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reload))


def handle_stop_signals(service: Any, reactor: Any, before_exit: Callable[[], None]) -> None:
    """
    Stop on the first SIGINT or SIGTERM, and end the process at once on the second one.

    @param before_exit: called before the process ends at once.
    """

    begun, done = Lock(), Lock()
    done.acquire()

    def log() -> None:
        calls = service.in_flight
        cut_off = f"; {calls} call{'s were' if calls != 1 else ' was'} cut off" if calls else ""
        service.log.warn("{line}", line=f"stopped at once{cut_off}")
        done.release()

    def end() -> None:
        service.kill()
        before_exit()
        if begun.acquire(blocking=False):  # a third signal does not wait
            # The code that the signal has interrupted may hold the lock of the log, or wait for its reader.
            with suppress(RuntimeError):  # no thread can start while Python ends
                start_new_thread(log, ())
                done.acquire(timeout=LAST_LINE)

    service.signals = StopHandlers(reactor, end)
    service.signals.install()


def take_over() -> None:
    """
    Pass the application's records of Python's C{logging} on to the server's log, and freeze the garbage
    collector. Called when the application has been loaded, because it may configure C{logging} then.
    """
    pass_on_records(log_record)
    freeze_garbage_collector()


def freeze_garbage_collector() -> None:
    """
    Exempt all objects that exist after the start from garbage collection (C{gc.freeze}).

    These are modules, classes and tables. A full collection would visit each of them, which delays all calls
    by about 20 ms.
    """
    gc.collect()
    gc.freeze()


def limit_exit_time(service: Any, seconds: float = 0.0) -> None:
    """
    Make sure that the process exits. Python would wait forever for threads in which functions hang.

    @param seconds: the time until the process must have exited if no function hangs; 0 for no limit.
    """
    if hanging := service.hanging_threads:
        service.log.warn("{n} functions hang in their threads; the server exits without them", n=hanging)
        seconds = HANGING_TIMEOUT
    if seconds:
        exit_handler.exit_within(seconds)


def run_until_stopped(service: Any, reactor: Any, settings: Settings, exit_time: float = 0.0) -> None:
    """
    Run a service, and the reactor, until a signal stops them.

    @param service: an L{AppService}, or what has the same methods.
    @param exit_time: seconds until the process must have exited then; 0 for no limit.
    @raise AppserverError: when the service cannot start.
    """
    failures: list[Failure] = []

    def failed(failure: Failure) -> None:
        if service.running:
            failures.append(failure)
            reactor.stop()

    def stop() -> Deferred[None]:
        stopped: Deferred[None] = service.stopService()
        return stopped.addCallback(lambda _: limit_exit_time(service, exit_time))

    raise_file_limit(settings)
    handle_stop_signals(service, reactor, lambda: None)
    service.startService()
    take_over()
    service.started.addErrback(failed)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.run()
    if failures:
        failures[0].raiseException()
