"""Writes to the server's log what functions log with Python's C{logging} module."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel


def log_record(level: str, name: str, text: str, **fields: Any) -> None:
    """
    Log what a function has logged with Python's C{logging} module.

    @param level: the name of a C{twisted.logger.LogLevel}.
    @param name: the name of the logger.
    """
    log = Logger(namespace=name)
    log.emit(LogLevel.lookupByName(level), "{text}", text=text, from_logging=True, **fields)
