"""Ten functions with typed arguments: a value that does not fit is refused before the function runs.

The page at /-/docs shows it all. C{appserver examples/typed.py}
"""

import math
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID, uuid5

from msgspec import Meta, Struct

from twisted_appserver import HTTPError, Route

Count = Annotated[int, Meta(ge=1, le=1000)]
Coordinate = Annotated[float, Meta(ge=-1e150, le=1e150)]
Name = Annotated[str, Meta(min_length=1, max_length=40)]


class Unit(Enum):
    METRE = "m"
    FOOT = "ft"


class Point(Struct):
    """A point in the plane."""

    x: Coordinate
    y: Coordinate = 0.0


class Order(Struct, forbid_unknown_fields=True):
    """A customer's order."""

    name: Name
    count: Count = 1
    tags: list[str] = []


def add(a: int, b: int = 0) -> dict[str, int]:
    """The sum of two numbers."""
    return {"sum": a + b}


def root(number: Annotated[float, Meta(ge=0)]) -> dict[str, float]:
    """The square root of a number that is not negative."""
    if not math.isfinite(number):
        raise HTTPError(422, "number must be finite")
    return {"root": math.sqrt(number)}


def later(day: date, days: Annotated[int, Meta(ge=0, le=36500)] = 1) -> dict[str, date]:
    """The date that is a number of days after another."""
    try:
        return {"day": day + timedelta(days)}
    except OverflowError:
        raise HTTPError(422, "days: the result is after the year 9999") from None


def price(amount: Annotated[str, Meta(pattern=r"^\d{1,9}(\.\d{1,2})?$")], rate: Decimal) -> dict[str, str]:
    """An amount with tax."""
    if not rate.is_finite():
        raise HTTPError(422, "rate must be finite")
    try:
        return {"price": str(Decimal(amount) * (1 + rate / 100))}
    except ArithmeticError:
        raise HTTPError(422, "rate: nobody can pay that") from None


def convert(length: Annotated[float, Meta(ge=0, le=1e9)], to: Unit) -> dict[str, float]:
    """Convert a length from metres to feet or from feet to metres."""
    return {to.value: length / 0.3048 if to is Unit.FOOT else length * 0.3048}


def distance(a: Point, b: Point) -> dict[str, float]:
    """The distance between two points."""
    return {"distance": math.hypot(a.x - b.x, a.y - b.y)}


def order(order: Order) -> Order:
    """Order something."""
    return order


def identify(namespace: UUID, name: Name) -> dict[str, UUID]:
    """The id of a name (RFC 9562, version 5)."""
    return {"id": uuid5(namespace, name)}


def sort(numbers: list[int], direction: Literal["up", "down"] = "up") -> dict[str, list[int]]:
    """Numbers in their order."""
    return {"numbers": sorted(numbers, reverse=direction == "down")}


def count(text: str, letters: bool = False, word: str | None = None) -> dict[str, int]:
    """The number of words and letters, or how often one word occurs."""
    if word is not None:
        return {"count": text.split().count(word)}
    return {"count": sum(map(str.isalpha, text)) if letters else len(text.split())}


url_patterns = (
    (r"/add/(?P<a>)/", add),
    (r"/square-root/(?P<number>)/", root),
    (r"/later/(?P<day>)/", later),
    (r"/price/(?P<amount>)/", price),
    (r"/convert/(?P<to>)/", convert),
    Route(r"/distance/", distance, methods=["POST"]),
    Route(r"/order/", order, methods=["POST"]),
    (r"/identify/(?P<namespace>)/(?P<name>)/", identify),
    (r"/sort/", sort),
    (r"/count/", count),
)
