"""Takes orders."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from shop.models import Order
from shop.tasks import charge, remind


def take(customer, amount):
    """Store an order, and enqueue a task that charges it: both or neither."""
    with transaction.atomic():
        order = Order.objects.create(customer=customer, amount=amount)
        result = charge.enqueue(order.id)
    return result.id


async def remind_later(customer, days):
    """Remind a customer, some days from now."""
    later = timezone.now() + timedelta(days=days)
    result = await remind.using(run_after=later, priority=-5).aenqueue(customer)
    return result.id


def state(result_id):
    """Return what is known of a charge."""
    result = charge.get_result(result_id)
    errors = [error.traceback for error in result.errors]
    value = result.return_value if result.status == "SUCCESSFUL" else None
    return {"status": result.status, "value": value, "attempts": result.attempts, "errors": errors}
