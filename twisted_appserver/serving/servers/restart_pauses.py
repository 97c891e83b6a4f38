"""How long the supervisor waits before it starts a server in place of one that has ended."""

from __future__ import annotations

from collections import Counter

from twisted_appserver.executors.processes.pool import MAX_BACKOFF, MAX_BACKOFF_KILLED, MAX_DOUBLINGS
from twisted_appserver.serving.servers.supervised_server import SupervisedServer

STABLE = 1.0  # seconds after which a server that was ready is no longer counted as failed if it dies
FIRST = 0.1  # seconds


class RestartPauses:
    """
    The pauses grow while the servers with one number end early.

    @ivar failures: how many have ended early, one after the other, by number.
    """

    def __init__(self) -> None:
        self.failures: Counter[int] = Counter()

    def after(self, server: SupervisedServer, now: float) -> float:
        """Return the seconds until another server is started in place of one that has ended."""
        if server.ready and now - server.ready_since > STABLE:
            del self.failures[server.number]
            return 0.0
        doublings = min(self.failures[server.number], MAX_DOUBLINGS)
        self.failures[server.number] += 1
        return float(min(FIRST * 2**doublings, MAX_BACKOFF_KILLED if server.was_killed else MAX_BACKOFF))
