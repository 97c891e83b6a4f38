"""
Passes the records of Python's C{logging} module on to the log of the server.

Strategy: a program that does not configure logging, or calls C{logging.basicConfig()}, writes its records to
standard error. In that output, records would lose their level, their logger and the id of their request. So
the handlers that write to the standard streams are replaced. Handlers that write elsewhere stay as they are.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from threading import local
from typing import Any

Send = Callable[[str, str, str], None]  # receives the level's name, the logger's name and the text
LEVELS = ((50, "critical"), (40, "error"), (30, "warn"), (20, "info"), (0, "debug"))


class RecordHandler(logging.Handler):
    """
    Passes records on.

    @param send: called in the thread that logs.
    """

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send
        self._busy = local()  # A function may forward the log of Twisted to C{logging}.

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless it was logged while another one was being passed on."""
        if getattr(self._busy, "busy", False):
            return
        self._busy.busy = True
        try:
            level = next(name for least, name in LEVELS if record.levelno >= least)
            self._send(level, record.name, self.format(record))
        except Exception:
            self.handleError(record)
        finally:
            self._busy.busy = False


def _loggers() -> Iterator[logging.Logger]:
    yield logging.getLogger()
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


def _writes_to_standard_stream(handler: Any) -> bool:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return type(handler) is logging.StreamHandler and any(handler.stream is stream for stream in streams)


def pass_on_records(send: Send) -> None:
    """
    Replace the handlers that write to the standard streams, and C{logging.lastResort}, which receives
    warnings if there are no handlers. C{logging.basicConfig()} still has its effect in a function.

    The level and the filters of a handler stay, and so does its format, with one exception: the format that
    C{logging.basicConfig()} sets is removed, because it repeats the level and the name.
    """
    for logger in _loggers():
        for position, old in enumerate(logger.handlers):
            if _writes_to_standard_stream(old):
                new = RecordHandler(send)
                new.setLevel(old.level)
                new.filters = old.filters
                if getattr(old.formatter, "_fmt", logging.BASIC_FORMAT) != logging.BASIC_FORMAT:
                    new.setFormatter(old.formatter)
                logger.handlers[position] = new
    logging.lastResort = RecordHandler(send)
    logging.lastResort.setLevel(logging.WARNING)
