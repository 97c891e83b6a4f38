"""Tasks that are enqueued in transactions of PostgreSQL."""

from __future__ import annotations

import asyncio
from unittest import skipUnless

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.tasks import TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist
from shop.models import Order
from shop.orders import state, take
from shop.tasks import charge

from checks import tasks
from checks.support import ON_POSTGRESQL, BackendCase, finished


@skipUnless(ON_POSTGRESQL, "the database of this run is not PostgreSQL")
class TransactionTests(BackendCase):
    def test_shop_takes_an_order(self) -> None:
        """The order and its task are committed together."""
        result_id = take(1, 9)
        self.perform(charge.get_result(result_id))
        expected = {"status": "SUCCESSFUL", "value": {"amount": 9}, "attempts": 1, "errors": []}
        self.assertEqual(state(result_id), expected)
        self.assertIs(Order.objects.latest("id").paid, True)

    def test_committed_task_is_performed(self) -> None:
        with self.working():
            with transaction.atomic():
                order = Order.objects.create(customer=1, amount=9)
                result = charge.enqueue(order.id)
                with self.assertRaises(TaskResultDoesNotExist):
                    charge.get_result(result.id)
            self.assertEqual(finished(result).return_value, {"amount": 9})

    def test_rollback_enqueues_nothing(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            result = tasks.note.enqueue("rolled back")
            raise ZeroDivisionError
        last = tasks.note.enqueue("committed")
        self.assertEqual(self.perform(last).status, TaskResultStatus.SUCCESSFUL)
        self.assertEqual(tasks.ran, [["committed"]])
        with self.assertRaises(TaskResultDoesNotExist):
            tasks.note.get_result(result.id)

    def test_coroutine_enqueues_in_the_transaction_of_its_thread(self) -> None:
        async def enqueue() -> None:
            await sync_to_async(lambda: connection.set_autocommit(False))()
            await tasks.note.aenqueue("rolled back")
            await sync_to_async(lambda: connection.rollback())()
            await sync_to_async(lambda: connection.set_autocommit(True))()
            await tasks.note.aenqueue("committed")
            await sync_to_async(lambda: connection.close())()

        asyncio.run(enqueue())
        self.perform(tasks.note.enqueue("last"))
        self.assertEqual(tasks.ran, [["committed"], ["last"]])

    def test_database_without_the_function_is_explained(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER SCHEMA tqueue RENAME TO elsewhere")
        try:
            with self.assertRaisesRegex(ImproperlyConfigured, "start a TQueueSrv with --store"):
                tasks.note.enqueue()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER SCHEMA elsewhere RENAME TO tqueue")
