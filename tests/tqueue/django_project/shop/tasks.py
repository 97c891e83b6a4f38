"""The tasks of the shop."""

from django.tasks import task

from shop.models import Order


@task
def charge(order_id):
    """Charge the customer of an order."""
    order = Order.objects.get(id=order_id)
    order.paid = True
    order.save()
    return {"amount": order.amount}


@task(priority=10, queue_name="urgent", takes_context=True)
def remind(context, customer):
    """Remind a customer."""
    return f"{context.task_result.id}, attempt {context.attempt}: please pay, customer {customer}"


@task
async def count_orders(customer):
    """Count the orders of a customer."""
    return await Order.objects.filter(customer=customer).acount()
