"""A TQueueSrv that responds before it commits. L{tests.support.queue_faults} must detect that."""

from __future__ import annotations

import time
from typing import Any

from twisted.scripts import twistd

from twisted_appserver.queue.local.sqlite_journal import SQLiteStore

commit = SQLiteStore._commit


def late(self: SQLiteStore, batch: Any) -> Any:
    time.sleep(0.2)
    return commit(self, batch)


def write(self: SQLiteStore, change: Any) -> None:
    self._enqueue(change)


def run() -> None:
    """Run twistd."""
    SQLiteStore._commit = late  # type: ignore[method-assign]
    SQLiteStore.write = write  # type: ignore[method-assign, assignment]
    twistd.run()
