"""Sells bolts and nuts by mail.

- **Articles** have a name, a price in euros and a picture.
- **Orders** are sent on the next working day.
- `train` takes long: call it *as a job* to see its progress.
"""

# The service of the pictures in the documentation: its functions have parameters and results of many kinds.

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator
from datetime import date
from enum import Enum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from twisted_appserver import HTTPError, Reply, Route

__version__ = "2.4.0"

Article = Annotated[str, Meta(pattern=r"^[a-z]{2,20}$", examples=["bolt"])]
PRICES = {"bolt": 0.15, "nut": 0.05, "washer": 0.02}


class Wrapping(Enum):
    PAPER = "paper"
    WOOD = "wood"
    NONE = "none"


class Line(Struct):
    """A line of an order.

    @ivar article: the name of an article, see `list_articles`.
    @ivar count: how many.
    """

    article: Article
    count: Annotated[int, Meta(ge=1, le=1000)] = 1


class Address(Struct):
    """Where an order goes.

    @ivar country: two letters (ISO 3166).
    """

    name: str
    street: str
    country: Annotated[str, Meta(min_length=2, max_length=2, examples=["DE"])] = "DE"


class Order(Struct):
    """An order with its price."""

    number: int
    lines: list[Line]
    to: Address
    price: float
    wrapping: Wrapping = Wrapping.PAPER


def list_articles(
    kind: Literal["metal", "plastic"] | None = None, limit: Annotated[int, Meta(ge=1, le=100)] = 20
) -> dict[str, float]:
    """List the articles with their prices.

    @param kind: only articles of this material
    @param limit: how many articles at most
    @return: the prices in euros, by article
    """
    return dict(list(PRICES.items())[:limit])


def get_article(
    name: Article, currency: Literal["EUR", "USD", "GBP"] = "EUR", with_tax: bool = False
) -> dict[str, str | float]:
    """Return the price of an article.

    The price is **per piece**. It costs

        price * count

    and large orders are cheaper, see [the rules](https://example.org/rules).

    @param name: the name of the article
    @param currency: the currency of the price
    @param with_tax: whether the price includes taxes
    @return: the name and the price
    """
    if name not in PRICES:
        raise HTTPError(404, f"there is no article {name!r}")
    return {"name": name, "price": round(PRICES[name] * (1.19 if with_tax else 1), 4), "currency": currency}


def picture(name: Article, side: Annotated[int, Meta(ge=8, le=400)] = 160) -> Annotated[Reply, "image/png"]:
    """Draw an article.

    @param side: the size in pixels
    """
    rows = b"".join(
        b"\0" + bytes(value for x in range(side) for value in (x * 255 // side, y * 255 // side, 120))
        for y in range(side)
    )
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return Reply(body, headers={"content-type": "image/png"})


def place_order(
    lines: list[Line],
    to: Address,
    wrapping: Wrapping = Wrapping.PAPER,
    gift: bool = False,
    by: date | None = None,
    notes: list[str] = [],  # noqa: B006
) -> Order:
    """Place an order for several articles.

    The order is sent on the next working day:

    1. The price is computed from `lines`.
    2. Each article is taken from the store, or the whole order gets **409**.

    @param lines: what is ordered
    @param to: where it goes
    @param wrapping: what it is wrapped in
    @param gift: whether the bill is left out
    @param by: the last day on which it may arrive
    @param notes: lines that are printed on the parcel
    @return: the order, with its number and its price
    """
    return Order(
        1, lines, to, round(sum(PRICES.get(line.article, 0) * line.count for line in lines), 2), wrapping
    )


def get_order(number: Annotated[int, Meta(ge=1)]) -> Order:
    """Return an order."""
    return Order(number, [Line("bolt", 3)], Address("Ada", "Main Street 1"), 0.45)


def tag_order(number: int, tags: list[Literal["urgent", "fragile", "heavy"]]) -> dict[str, list[str]]:
    """Give an order tags."""
    return {"tags": list(tags)}


def train(steps: Annotated[int, Meta(ge=1, le=10_000)] = 40) -> Iterator[dict[str, int]]:
    """Train the model of demand, step by step.

    @param steps: how many steps
    """
    for step in range(1, steps + 1):
        time.sleep(0.05)
        yield {"done": step, "total": steps}


def by_name(name: str) -> dict[str, str]:
    """Find a customer by name."""
    return {"name": name}


def sleep(seconds: Annotated[float, Meta(ge=0, le=60)], text: str = "") -> dict[str, float | str]:
    """Take a while."""
    time.sleep(seconds)
    return {"slept": seconds, "text": text}


def large(size: Annotated[int, Meta(ge=0)] = 300_000) -> dict[str, str]:
    """Return a long text."""
    return {"text": "x" * size}


url_patterns = (
    Route(r"/articles/", list_articles, methods=["GET"]),
    (r"/articles/(?P<name>[a-z]+)/", get_article),
    Route(r"/articles/(?P<name>[a-z]+)/picture", picture, methods=["GET"]),
    Route(r"/orders/", place_order, methods=["POST"]),
    Route(r"/orders/(?P<number>\d+)/", get_order, methods=["GET"]),
    Route(r"/orders/(?P<number>\d+)/tags", tag_order, methods=["PUT", "POST"]),
    (r"/train/", train),
    (r"/sleep/", sleep),
    (r"/large/", large),
    Route(r"/v\d+/customers/(?P<name>\w+)/", by_name, methods=["GET"]),
)
