"""Opens connections to the database, with the settings and functions that a server needs."""

from __future__ import annotations

from typing import Any

from twisted_appserver.errors import ConfigurationError, how_to_install
from twisted_appserver.queue.postgresql import schema
from twisted_appserver.queue.postgresql.connection_watchdog import LONG, ConnectionWatchdog
from twisted_appserver.queue.postgresql.poolers import refuse_shared
from twisted_appserver.queue.sql_files import read_sql

CHANNEL = "tqueue"  # the channel of notifications between servers
FILES = (
    "groups.sql", "lifetimes.sql", "pace.sql", "unique_keys.sql", "ready_tasks.sql",
    "perform_requests.sql", "perform_batches.sql", "outbox.sql",
)  # fmt: skip
FUNCTIONS = "".join(read_sql(__package__, file) for file in FILES)
# A server that is cut off must not keep its locks, or wait, for longer than a few seconds.
PARAMETERS = {  # parameters of libpq, unless the URL has them
    "connect_timeout": 3, "keepalives_idle": 3, "keepalives_interval": 1, "keepalives_count": 3,
    "tcp_user_timeout": 5000, "application_name": "tqueuesrv",
}  # fmt: skip
SETTINGS = {  # settings of PostgreSQL
    "tcp_keepalives_idle": "3", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5s", "idle_in_transaction_session_timeout": "5s", "lock_timeout": "10s",
    "statement_timeout": "60s", "client_min_messages": "warning", "client_encoding": "utf8",
    # Statements after the lock must see the changes that other servers committed before they released it.
    "default_transaction_isolation": "read committed",
    # Every statement uses an index, regardless of the statistics, because the tables change too fast for
    # them.
    "enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off",
    "enable_mergejoin": "off", "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}  # fmt: skip
LOCK_TIMEOUT = "2s"  # time limit for the locks of queues; shorter than connection_watchdog.SHORT


def import_psycopg() -> Any:
    """
    Import the optional driver.

    @raise ConfigurationError: when it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise ConfigurationError(
            f"PostgreSQL needs the extra postgresql; {how_to_install('postgresql')} ({error})"
        ) from None
    return psycopg


class PreparedConnection:
    """
    A new connection, ready for transactions.

    @param url: as libpq accepts it.
    @param watchdog: aborts the connection if an answer does not arrive.
    @raise psycopg.Error: when the connection fails.
    @raise ConfigurationError: when the database cannot be used.
    @ivar psycopg: the connection of the driver.
    @ivar secret: signs the ids of tasks.
    @ivar last_deletion: the number of the last deletion of a queue.
    """

    def __init__(self, psycopg: Any, url: str, watchdog: ConnectionWatchdog) -> None:
        given = psycopg.conninfo.conninfo_to_dict(url)
        parameters = {name: value for name, value in PARAMETERS.items() if name not in given}

        def connect() -> Any:
            return psycopg.connect(url, autocommit=True, **parameters)

        connection = self.psycopg = connect()
        try:
            watchdog.watch(connection.fileno())
            watchdog.expect_within(LONG)
            refuse_shared(connection, connect)
            for name, value in SETTINGS.items():
                self._set(name, value)
            self.secret = schema.prepare(connection)
            connection.execute(FUNCTIONS)
            connection.execute(f"LISTEN {CHANNEL}")
            self._set("lock_timeout", LOCK_TIMEOUT)
            (self.last_deletion,) = connection.execute(schema.SQL["last_deletion"]).fetchone()
        except BaseException:
            watchdog.stop()
            connection.close()
            raise
        watchdog.expect_within()
        connection.prepare_threshold = 0
        # Every integer is sent as an int8, so that the types of a prepared statement do not vary.
        connection.adapters.register_dumper(int, psycopg.types.numeric.Int8Dumper)

    def _set(self, name: str, value: str) -> None:
        self.psycopg.execute(schema.SQL["set_setting"], {"name": name, "value": value})


def read_notification(note: Any) -> tuple[str, str, str] | None:
    """
    Read a notification, as psycopg or libpq returns it.

    @return: the server that sent it, the waiters for whom something has changed, and the name of the queue;
        C{None} if it has another format.
    """
    payload = note.extra if hasattr(note, "extra") else note.payload
    text = payload.decode() if isinstance(payload, bytes) else payload
    server, _, rest = text.partition(" ")
    waiters, _, name = rest.partition(" ")
    return (server, waiters, name) if name else None


def one_line(error: Exception) -> str:
    """Return the message of an error in one line, for the log."""
    return " ".join(str(error).split())
