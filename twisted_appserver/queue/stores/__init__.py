"""Where tasks are kept.

The modules:
  - L{interface}: what every store promises.
  - L{memory}: in this process only.
  - L{sqlite}: in a file.
  - L{postgresql}: in a database that several servers share; L{batch}, L{schema}.
  - L{gathering}: what both of these store at once.
"""

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.local.journal import IStore
from twisted_appserver.queue.local.memory_journal import MemoryStore
from twisted_appserver.queue.local.sqlite_journal import SQLiteStore
from twisted_appserver.queue.postgresql.session import PostgreSQLStore


def open_store(text: str) -> IStore | PostgreSQLStore:
    """
    The store that the command line names; nothing is opened yet.

    @param text: C{memory:}, C{sqlite:PATH} or C{postgresql://...}, as libpq has it.
    @raise ConfigurationError: when there is no such kind.
    """
    if text == "memory:":
        return MemoryStore()
    kind, _, path = text.partition(":")
    if kind == "sqlite" and path:
        return SQLiteStore(path)
    if kind in ("postgresql", "postgres") and path.startswith("//"):
        return PostgreSQLStore(text)
    raise ConfigurationError(f"the store must be memory:, sqlite:PATH or postgresql://..., not {text!r}")
