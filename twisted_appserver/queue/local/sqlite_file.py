"""The file of a store: refuses files of other applications, makes the tables, and the reserve file beside it.

The database of another application is not changed.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from os import urandom
from pathlib import Path

from twisted_appserver.errors import ConfigurationError

APPLICATION = 0x74515345  # "tQSE", in the header of every store (PRAGMA application_id)
MAGIC = b"SQLite format 3\0"
RESERVE = 8 * 1024 * 1024  # bytes
FIRST_LOCK_BYTE, LOCK_BYTES = 0x40000002, 510  # the bytes of SQLite's shared and exclusive locks
HEADER = 100  # bytes; U{https://www.sqlite.org/fileformat2.html#the_database_header}
TABLES = {"store", "queues", "keys", "tasks"}


def check_file(path: str) -> None:
    """
    Check that a file does not exist, is empty, or is a store, and can be written. It is only read.

    @raise ConfigurationError: when it is something else.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER)
    except FileNotFoundError:
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise ConfigurationError(
                f"the store {path} cannot be used: there is no folder {folder}"
            ) from None
        if not os.access(folder, os.W_OK | os.X_OK):
            why = f"there is no permission to write into the folder {folder}"
            raise ConfigurationError(f"the store {path} cannot be used: {why}") from None
        return
    except OSError as error:
        raise ConfigurationError(f"the store {path} cannot be used: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise ConfigurationError(f"the store {path} cannot be used: there is no permission to write it")
    if not header or _application(header) == APPLICATION:
        return
    if len(header) < HEADER or not header.startswith(MAGIC):
        raise ConfigurationError(f"{path} is not a database of SQLite; use another file for --store")
    if not _is_store(path):  # the first version had no application id
        raise ConfigurationError(
            f"{path} is the database of another application; use another file for --store"
        )


def is_in_use(path: str) -> bool:
    """
    Return whether a server uses a store now. The file is not changed.

    SQLite locks these bytes, see U{https://www.sqlite.org/lockingv3.html}. A server keeps its lock until it
    ends.
    """
    import fcntl  # POSIX only

    try:
        with open(path, "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, LOCK_BYTES, FIRST_LOCK_BYTE)
    except BlockingIOError:
        return True
    except OSError:  # there is no file yet, or the file system has no locks
        return False
    return False


def _application(header: bytes) -> int:
    return int.from_bytes(header[68:72], "big")


def _is_store(path: str) -> bool:
    """Return whether a database has the tables of a store, or no tables. The log (WAL) is read too."""
    # Without a log, SQLite need not read or create other files.
    mode = "mode=ro" if os.path.exists(path + "-wal") else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{Path(path).as_uri()}?{mode}", uri=True, timeout=1.0)) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in names}
        application = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION:
        return True
    return not application and (tables >= TABLES if tables or version else True)


def migrate(database: sqlite3.Connection, path: str, migrations: Sequence[str]) -> None:
    """
    Make the tables of this version, each step in a transaction of its own.

    @raise ConfigurationError: when a later version has written the file.
    """
    version, supported = database.execute("PRAGMA user_version").fetchone()[0], len(migrations)
    if version > supported:
        raise ConfigurationError(
            f"{path} has version {version}; this program supports versions up to {supported}"
        )
    for step in range(version, supported):
        database.executescript(
            f"BEGIN IMMEDIATE; {migrations[step]}; PRAGMA user_version={step + 1};"
            f"PRAGMA application_id={APPLICATION}; COMMIT"
        )


def take_reserve(path: str) -> str:
    """Create the reserve file of a database. Return why this failed; empty if it succeeded."""
    path += "-reserve"
    try:
        with open(path, "ab") as file:
            while (missing := RESERVE - file.tell()) > 0:
                file.write(urandom(min(missing, 65536)))
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            return "the disk is full"
        return f"the reserve file beside the database cannot be written: {error.strerror}"
    return ""
