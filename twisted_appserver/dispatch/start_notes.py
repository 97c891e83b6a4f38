"""Warnings about a table that are logged when it is put to use: at the start and after a reload."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.unstarted_log import show_unless_logged

NO_ADMIN = "--no-admin switches jobs off"
SEVERAL_SERVERS = "several servers have jobs only with --store postgresql://USER@HOST/DATABASE"
APP_RESOURCE = "an AppResource has no jobs; use make_service"


def reactor_note(reactor: Any, router: Router) -> str:
    """Return a warning if coroutine functions cannot await asyncio on this reactor; empty if they can."""
    names = [handler.name for handler in router.handlers if handler.awaits and not _is_own(handler)]
    if not names or hasattr(reactor, "_asyncioEventloop"):
        return ""
    return (
        f"{names[0]} is a coroutine function, which can await Deferreds but not asyncio on Twisted's "
        f"{type(reactor).__name__}: start with twistd --reactor=asyncio, import the reactor only inside "
        "functions, or call asyncioreactor.install() at the beginning of your own program"
    )


def jobless_notes(router: Router, why: str) -> list[str]:
    """
    Return a warning for each route that needs jobs, for a service without jobs.

    @param why: why the service has no jobs.
    """
    found = []
    for entry in router.entries:
        if entry.handler.schedule is not None:
            found.append(f"{entry.place}: {entry.handler.name} is never called as scheduled: {why}")
        if entry.handler.retry is not None:
            found.append(f"{entry.place}: retry has no effect on {entry.handler.name}: {why}")
    return found


def _is_own(handler: Any) -> bool:
    """
    Return whether a function belongs to this package, like the functions of TQueueSrv. They await no asyncio.
    """
    return str(getattr(handler.original, "__module__", "")).startswith(f"{__name__.partition('.')[0]}.")


def start_notes(reactor: Any, router: Router, why_jobless: str) -> list[str]:
    """
    Return all warnings about a table in its service.

    @param why_jobless: why the service has no jobs; empty if it has jobs.
    """
    jobless = jobless_notes(router, why_jobless) if why_jobless else []
    return [*router.notes, *filter(None, [reactor_note(reactor, router)]), *jobless]


def log_start_notes(log: Logger, reactor: Any, router: Router, why_jobless: str) -> None:
    """
    Log all warnings about a table.

    @param why_jobless: why the service has no jobs; empty if it has jobs.
    """
    for note in start_notes(reactor, router, why_jobless):
        log.warn("{note}", note=note)
        show_unless_logged(note)
