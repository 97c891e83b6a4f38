"""Records in the database that a server is alive, so that workers can renew leases.

While no server is alive, no worker can renew a lease. So no lease ends until the next server has prolonged
all leases by the length of the outage.

The clock of the database may be set at any time. A transaction that notices such a change lets its server
record at once that it is alive. Otherwise, if the clock is set forward and soon back, some stored times would
be far too late.
"""

from __future__ import annotations

from typing import Any

from twisted_appserver.queue.model import GRACE
from twisted_appserver.queue.postgresql.schema import QUEUE_LOCK, SQL

INTERVAL = 1.0  # seconds between two records
MAX_SILENCE = 2.0  # seconds; if no server has been alive for longer, leases are prolonged before one ends
PROLONG_LOCK = 7_483_514  # the advisory lock of the server that prolongs leases


def record_alive(connection: Any) -> None:
    """
    Record that a server is alive. If no server was alive for L{MAX_SILENCE}, first prolong all leases by the
    length of the outage. If the clock of the database was set back, let leases and delays end earlier by the
    same amount.

    @param connection: a connection that commits each statement.
    """
    recent = {"oldest": MAX_SILENCE, "newest": 0.7 * INTERVAL}
    if connection.execute(SQL["update_alive"], recent).rowcount:
        return
    alive, silence = connection.execute(SQL["alive"]).fetchone()
    if 0 <= silence < MAX_SILENCE:
        return
    if not connection.execute(SQL["try_lock"], {"lock": PROLONG_LOCK}).fetchone()[0]:
        return  # another server does it
    try:
        if connection.execute(SQL["alive"]).fetchone()[0] == alive:
            _move_times(connection, alive, silence)
        connection.execute(SQL["set_alive"])
    finally:
        if not connection.closed:
            connection.execute(SQL["unlock"], {"lock": PROLONG_LOCK})


def _move_times(connection: Any, alive: Any, silence: float) -> None:
    """
    Move the ends of leases that had not ended when the last server was alive. Move delays too if the clock
    was set back.

    @param alive: that time.
    @param silence: the seconds since then, less than 0 if the clock was set back.
    """
    moves = ("turn_back",) if silence < 0 else ("end_excursion", "prolong_leases")
    for (queue,) in connection.execute(SQL["queues_with_future_times"], {"alive": alive}).fetchall():
        values = {"gap": silence, "least": GRACE, "queue": queue, "alive": alive, "newest": MAX_SILENCE}
        with connection.transaction():
            connection.execute(SQL["lock_queue"], {"lock_class": QUEUE_LOCK, "queue": queue})
            for move in moves:
                connection.execute(SQL[move], values)
