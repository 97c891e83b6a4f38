"""Advice for errors that depend on where a function runs: in a thread, on the reactor or on Dask. Pure."""

from __future__ import annotations

import contextlib
import os
import re
import traceback
from collections.abc import Iterator
from itertools import dropwhile, pairwise

from twisted_appserver.core.import_errors import PACKAGE

NOT_ON_ASYNCIO = (
    "Twisted's reactor does not run on asyncio here, so await Deferreds only: start the server with appserver"
    " or twistd --reactor=asyncio; or write a plain def and use asyncio.run()"
)
ADVICE: tuple[tuple[str, str, str], ...] = (  # the exception's class, a pattern in its message, the advice
    (
        "ProgrammingError",
        "can only be used in that same thread",
        "functions run in several threads: open the connection with check_same_thread=False and guard it with"
        " a lock, or keep one connection per thread in threading.local()",
    ),
    (
        "ValueError",
        "signal only works in main thread",
        "this function runs in a thread: use --type forked, which runs it in a worker process's main thread",
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
    ("RuntimeError", "no running event loop|await wasn't used with future", NOT_ON_ASYNCIO),
    ("AsyncLibraryNotFoundError", "", NOT_ON_ASYNCIO),
    (
        "RuntimeError",
        "Task got bad yield: <Deferred ",
        "a task that asyncio has created cannot await a Deferred: write"
        " await deferred.asFuture(asyncio.get_running_loop())",
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
        "the response had already started, so its status could not change: raise it before the first yield",
    ),
    (
        "TypeError",
        r"\((?:coroutine|Deferred|Future|Task|_GatheringFuture)\) has no equivalent in JSON",
        "await it before you return it, in an async def",
    ),
    (
        "TypeError",
        r"\(async_generator\) has no equivalent in JSON",
        "write an async def that yields its items, in an async for",
    ),
    ("TypeError", "DataFrame", 'convert it with frame.to_dict("records") or another orientation'),
)

# Frames in these files are left out: the files of this package, and contextlib, which makes decorators.
OUR_FRAMES = (*(os.path.join(PACKAGE, folder, "") for folder in ("core", "executors")), contextlib.__file__)

# Files of Twisted whose frames are left out at the beginning, because they only continue a coroutine.
RESUMING = (os.path.join("twisted", "internet", "defer.py"), os.path.join("twisted", "python", "failure.py"))


def format_traceback(error: BaseException) -> str:
    """
    Return the traceback of an exception, with advice where there is any. It begins at the function: frames of
    this package, and frames that continue a coroutine, are left out. If nothing is left, the text is the
    exception's line only.
    """
    found = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    for each in _chain(found):
        others = [frame for frame in each.stack if not frame.filename.startswith(OUR_FRAMES)]
        frames = list(dropwhile(_resumes_coroutine, others)) or others
        each.stack = traceback.StackSummary.from_list(frames) if frames else None  # type: ignore[assignment]
    text = "".join(found.format())
    if advice := advice_for(error):
        text = f"{text.rstrip()} ({advice})\n"
    return text.encode("utf-8", "backslashreplace").decode()


def _resumes_coroutine(frame: traceback.FrameSummary) -> bool:
    return frame.filename.endswith(RESUMING)


def _chain(found: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """Yield an exception, its causes, and the exceptions of groups."""
    yield found
    others = (found.__cause__, found.__context__, *(getattr(found, "exceptions", None) or ()))
    for other in others:
        if other is not None:
            yield from _chain(other)


def reason_of(text: str) -> str:
    """Return the line of a traceback that names the exception: the first one below the last frame."""
    lines = [line.removeprefix("  | ") for line in text.splitlines()] or [""]
    below = [after for before, after in pairwise(lines) if before[:1] == " " != after[:1]]
    return below[-1].strip() if below else lines[0].strip()


def advice_for(error: BaseException) -> str:
    """Return what to do about an exception; empty text if there is nothing to add to its message."""
    try:
        message = str(error)
    except BaseException:  # a user's exception class may raise anything here
        return ""
    for name, pattern, text in ADVICE:
        if type(error).__name__ == name and re.search(pattern, message):
            return text
    return ""
