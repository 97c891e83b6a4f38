"""What happens when the wall clock is set back: leases and delays take no longer than before."""

from __future__ import annotations

from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_stores import StoreTestCase, put
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.local.sqlite_rows import to_task
from twisted_appserver.queue.postgresql import heartbeat
from twisted_appserver.queue.postgresql.connection_watchdog import ConnectionWatchdog
from twisted_appserver.queue.postgresql.database import Database
from twisted_appserver.queue.queued_task import QueuedTask

HOUR, SHORT = 3600.0, 60.0  # seconds


class SQLiteRowTests(SynchronousTestCase):
    """A row whose times are those of a clock that was set back before the server was started."""

    def due(self, put_at: float, began: float, now: float) -> float:
        """Return when a delay of 60 seconds ends."""
        due = max(put_at, began) + SHORT
        row = (1, b"{}", 0.0, "", due, 0.0, 0, "", 0, began, "", 0, None, put_at)
        return to_task(row, 1000.0, now - 1000.0).due + 1000.0

    def test_delay_takes_no_longer_than_before(self) -> None:
        now = 50_000.0
        self.assertEqual(self.due(now + HOUR, 0.0, now), now + SHORT)
        self.assertEqual(self.due(now - 1, now + HOUR, now), now + SHORT)
        self.assertEqual(self.due(now + HOUR, now + HOUR + 1, now), now + SHORT)

    def test_delay_does_not_change_if_the_clock_is_right(self) -> None:
        now = 50_000.0
        self.assertEqual(self.due(now - 10, 0.0, now), now - 10 + SHORT)
        self.assertEqual(self.due(now - HOUR, now - 10, now), now - 10 + SHORT)


class SQLiteTests(StoreTestCase):
    async def test_delayed_task_is_due_after_a_restart_with_an_earlier_clock(self) -> None:
        path = sqlite_store(self)
        store: Any = open_store(path)
        store._wall = lambda: reactor.seconds() + HOUR  # type: ignore[attr-defined]
        broker = make_broker(reactor, store)
        broker.start()
        await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 0.1)
        await broker.stop()
        task = await self.broker(path).get("q", None, "", 20.0)
        self.assertEqual(task.body, b"{}")


@needs_postgresql
class PostgreSQLTests(StoreTestCase):
    def test_idle_server_records_in_time_that_it_is_alive(self) -> None:
        """A wait that begins shortly before the next record is due does not take a whole interval."""
        url, watchdog = shared().database(), ConnectionWatchdog()
        database = Database(url, "server", watchdog, lambda found: None)
        self.addCleanup(database.close)
        database.connect()
        waits = list[float]()
        self.patch(database._selector, "select", lambda seconds: waits.append(seconds) or ())
        database.record_alive()
        database._alive_recorded -= 0.75 * heartbeat.INTERVAL
        database.wait()
        self.assertLessEqual(waits[0], 0.25 * heartbeat.INTERVAL)
        database.record_alive_soon()
        database.wait()
        self.assertEqual(waits[1], 0.0)

    async def check_end_earlier(self, statement: str) -> None:
        """Lease and delay tasks, pretend with a statement that the clock was set, and check when they end."""
        url = shared().database()
        broker = self.broker(url)
        await put(broker, 1)
        await broker.get("q", SHORT)
        await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, SHORT)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)
            await deferLater(reactor, 2 * heartbeat.INTERVAL)
            left = connection.execute("SELECT extract(epoch FROM at - clock_timestamp()) FROM tqueue.tasks")
            for (seconds,) in left:
                self.assertTrue(SHORT - 20 < seconds < SHORT + 1, seconds)

    @slow
    async def test_leases_and_delays_end_earlier_when_the_clock_was_set_back(self) -> None:
        await self.check_end_earlier(
            "WITH later AS (UPDATE tqueue.tasks SET at = at + interval '1 hour') "
            "UPDATE tqueue.meta SET alive = alive + interval '1 hour'"
        )

    @slow
    async def test_leases_and_delays_end_earlier_when_the_clock_was_set_forward_and_back_in_part(
        self,
    ) -> None:
        """No server has seen the latest time."""
        await self.check_end_earlier(
            "WITH later AS (UPDATE tqueue.tasks SET at = at + interval '1 hour', "
            "began = began + interval '1 hour', put_at = put_at + interval '1 hour') "
            "UPDATE tqueue.meta SET alive = alive - interval '1 hour'"
        )

    async def test_lease_that_begins_after_the_clock_was_set_forward_is_not_prolonged(self) -> None:
        url = shared().database()
        broker = self.broker(url)
        await put(broker, 1)
        record = heartbeat.record_alive
        self.patch(heartbeat, "record_alive", lambda connection: None)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE tqueue.meta SET alive = clock_timestamp() - interval '1 hour'")
            await broker.get("q", SHORT)
            record(connection)
            ((seconds,),) = connection.execute(
                "SELECT extract(epoch FROM at - clock_timestamp()) FROM tqueue.tasks"
            )
            self.assertTrue(SHORT - 20 < seconds < SHORT + 1, seconds)

    async def test_transaction_that_notices_a_new_time_lets_it_be_recorded_at_once(self) -> None:
        url = shared().database()
        broker = self.broker(url)
        self.patch(heartbeat, "INTERVAL", 3600.0)
        with psycopg.connect(url, autocommit=True) as connection:
            for hours in (1, -1):
                connection.execute(
                    f"UPDATE tqueue.meta SET alive = clock_timestamp() + interval '{hours} hours'"
                )
                silence = 3600.0
                while abs(silence) > 60:
                    await put(broker, 1)
                    ((silence,),) = connection.execute(
                        "SELECT extract(epoch FROM clock_timestamp() - alive)::float8 FROM tqueue.meta"
                    )
