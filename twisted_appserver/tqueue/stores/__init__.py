"""Where tasks are kept.

The modules:
  - L{interface}: what every store promises.
  - L{memory}: in this process only.
  - L{sqlite}: in a file.
"""

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.tqueue.stores.interface import IStore
from twisted_appserver.tqueue.stores.memory import MemoryStore
from twisted_appserver.tqueue.stores.sqlite import SQLiteStore


def open_store(text: str) -> IStore:
    """
    The store that the command line names; nothing is opened yet.

    @param text: C{memory:} or C{sqlite:PATH}.
    @raise ConfigurationError: when there is no such kind.
    """
    if text == "memory:":
        return MemoryStore()
    kind, _, path = text.partition(":")
    if kind == "sqlite" and path:
        return SQLiteStore(path)
    raise ConfigurationError(f"the store must be memory: or sqlite:PATH, not {text!r}")
