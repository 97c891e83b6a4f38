"""What to do about failures that depend on where a function runs: thread, reactor or Dask. Pure."""

from __future__ import annotations

import re
import traceback

REMEDIES: tuple[tuple[str, str, str], ...] = (  # the exception's class, a part of its message, what to do
    (
        "ProgrammingError",
        "can only be used in that same thread",
        "functions run in several threads: open the connection with check_same_thread=False and use it under"
        " a lock, or keep one for each thread in threading.local()",
    ),
    (
        "ValueError",
        "signal only works in main thread",
        "this function runs in a thread: use --type forked, which runs it in a worker's main thread",
    ),
    (
        "RuntimeError",
        "asyncio.run\\(\\) cannot be called from a running event loop|This event loop is already running",
        "this function runs on the reactor: await it, or write a plain def, which runs in a thread",
    ),
    (
        "RuntimeError",
        "no current event loop in thread",
        "this function runs in a thread: use asyncio.run(), or write an async def",
    ),
    (
        "RuntimeError",
        "no running event loop|await wasn't used with future",
        "Twisted's reactor runs this function: start the server with --reactor=asyncio and write await"
        " Deferred.fromFuture(asyncio.ensure_future(...)), or write a plain def and use asyncio.run()",
    ),
    (
        "SynchronousOnlyOperation",
        "",
        "this function runs on the reactor: use Django's asynchronous methods, or write a plain def",
    ),
    (
        "AssertionError",
        "daemonic processes are not allowed to have children",
        "Dask's workers are daemonic: set DASK_DISTRIBUTED__WORKER__DAEMON=False for them, or use threads",
    ),
    (
        "HTTPError",
        "",
        "the response had begun, so its status could not be changed: raise it before the first yield",
    ),
    ("TypeError", "DataFrame", 'convert it with frame.to_dict("records") or another orientation'),
)


def shown(error: BaseException) -> str:
    """The traceback of an exception, with what to do about it where that is known."""
    text = "".join(traceback.format_exception(error))
    if advice := remedy(error):
        text = f"{text.rstrip()} ({advice})\n"
    return text.encode("utf-8", "backslashreplace").decode()


def remedy(error: BaseException) -> str:
    """What to do about an exception; empty if there is nothing to add to its message."""
    try:
        message = str(error)
    except BaseException:  # a class of the user's own may raise anything here
        return ""
    for name, pattern, text in REMEDIES:
        if type(error).__name__ == name and re.search(pattern, message):
            return text
    return ""
