"""What the shop stores."""

from django.db import models


class Order(models.Model):
    """An order of a customer."""

    customer = models.IntegerField()
    amount = models.IntegerField()
    paid = models.BooleanField(default=False)
