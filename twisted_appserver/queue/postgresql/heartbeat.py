"""Records in the database that a server is alive, which could renew leases.

While no server is alive, no worker can renew a lease. So no lease ends until the next server has prolonged
all leases by that time.
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
    Record that a server is alive. If none was for L{MAX_SILENCE}, prolong all leases by that time first.

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
        if silence >= MAX_SILENCE and connection.execute(SQL["alive"]).fetchone()[0] == alive:
            _prolong_leases(connection, alive, silence)
        connection.execute(SQL["set_alive"])
    finally:
        if not connection.closed:
            connection.execute(SQL["unlock"], {"lock": PROLONG_LOCK})


def _prolong_leases(connection: Any, alive: Any, silence: float) -> None:
    """
    Prolong the leases that had not ended when the last server was alive.

    @param alive: that time.
    @param silence: the seconds since then.
    """
    for (queue,) in connection.execute(SQL["queues_with_leases"], {"alive": alive}).fetchall():
        with connection.transaction():
            connection.execute(SQL["lock_queue"], {"lock_class": QUEUE_LOCK, "queue": queue})
            connection.execute(
                SQL["prolong_leases"], {"gap": silence, "least": GRACE, "queue": queue, "alive": alive}
            )
