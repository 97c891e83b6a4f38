"""Writes the records of Python's C{logging} module to the server's log."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel


def log_record(level: str, name: str, text: str, **fields: Any) -> None:
    """
    Write a record of Python's C{logging} module to the server's log.

    @param level: the name of a C{twisted.logger.LogLevel}.
    @param name: the name of the logger.
    """
    log = Logger(namespace=name)
    log.emit(LogLevel.lookupByName(level), "{text}", text=text, from_logging=True, **fields)
