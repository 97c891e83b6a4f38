"""Functions that take and return more than JSON objects: bytes, files, text, lists and streams.

    appserver --app examples/media.py --port 8084
    curl --data-binary @README.md 'localhost:8084/checksum/?algorithm=sha1'
    curl -F file=@README.md -F title=hello localhost:8084/attach/
    curl localhost:8084/countdown/3/
    openapi-python-client generate --url http://localhost:8084/-/openapi.json

The last command makes a client in Python. `__version__` and this text are in the description of the service.
"""

import hashlib
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, TypedDict

from msgspec import Meta, Struct

from twisted_appserver import Call, Reply, Route, Upload

__version__ = "2.1.0"

Colour = Annotated[str, Meta(pattern=r"^[A-Za-z]{1,20}$")]
Side = Annotated[int, Meta(ge=1, le=64)]


@dataclass
class Checksum:
    """The digest of a body."""

    algorithm: str
    size: int
    digest: str


class Sale(Struct):
    """The sales of one day."""

    day: date
    article: str
    amount: float = 0.0


class Total(TypedDict):
    """All sales of an article."""

    article: str
    days: int
    mean: float


class Step(Struct):
    """One step of a long calculation."""

    done: int
    total: int


def checksum(call: Call, algorithm: Literal["sha1", "sha256"] = "sha256") -> Checksum:
    """The checksum of a body of any type."""
    return Checksum(algorithm, len(call.body), hashlib.new(algorithm, call.body).hexdigest())


def attach(
    file: Upload, title: str = "", copies: int = 1, urgent: bool = False
) -> dict[str, str | int | bool]:
    """A file with other fields, as a browser's form sends it."""
    return {"name": file.filename, "size": len(file.data), "title": title, "copies": copies, "urgent": urgent}


def album(photos: list[Upload]) -> list[str]:
    """The names of several files."""
    return [photo.filename for photo in photos]


def noise(
    size: Annotated[int, Meta(ge=1, le=10_000)], seed: int = 0
) -> Annotated[Reply, "application/octet-stream"]:
    """Bytes that look random and are always the same."""
    return Reply(hashlib.shake_128(str(seed).encode()).digest(size))


def square(side: Side, colour: Colour = "red") -> Annotated[Reply, "image/svg+xml"]:
    """A picture of a square."""
    shape = f'<rect width="{side}" height="{side}" fill="{colour}"/>'
    return Reply(
        f'<svg xmlns="http://www.w3.org/2000/svg">{shape}</svg>', headers={"content-type": "image/svg+xml"}
    )


def poem(lines: Side = 4) -> Annotated[Reply, "text/plain"]:
    """Text."""
    return Reply("\n".join(f"line {number}" for number in range(1, lines + 1)))


def save(title: Annotated[str, Meta(min_length=1)]) -> Annotated[Reply, Checksum]:
    """A new object, with the status 201."""
    return Reply(Checksum("none", len(title), ""), 201, {"location": "/saved/"})


def totals(sales: list[Sale]) -> list[Total]:
    """The sales of each article."""
    articles = sorted({sale.article for sale in sales})
    amounts = {name: [sale.amount for sale in sales if sale.article == name] for name in articles}
    return [
        Total(article=name, days=len(found), mean=statistics.fmean(found)) for name, found in amounts.items()
    ]


def between(days: list[date], first: date = date.min, last: date = date.max) -> list[date]:
    """The days in a range."""
    return [day for day in days if first <= day <= last]


def countdown(start: Annotated[int, Meta(ge=0, le=1000)]) -> Iterator[Step]:
    """A stream: JSON lines, or server-sent events for a client that accepts them."""
    for number in range(start, 0, -1):
        yield Step(start - number + 1, start)


def greet(language: Literal["en", "de"] = "en") -> dict[str, str]:
    """Two fixed paths, which are one pattern."""
    return {"greeting": {"en": "hello", "de": "hallo"}[language]}


url_patterns = (
    Route(r"/checksum/", checksum, methods=["POST", "PUT"]),
    Route(r"/attach/", attach, methods=["POST"]),
    Route(r"/album/", album, methods=["POST"]),
    Route(r"/noise/(?P<size>\d+)/", noise, methods=["GET"]),
    Route(r"/square/(?P<side>\d+)/", square, methods=["GET"]),
    Route(r"/poem/", poem, methods=["GET"]),
    Route(r"/save/", save, methods=["POST"]),
    Route(r"/totals/", totals, methods=["POST"]),
    Route(r"/between/", between, methods=["GET"]),
    Route(r"/countdown/(?P<start>\d+)/", countdown, methods=["GET"]),
    Route(r"/(?:hello|good-day)/", greet, methods=["GET"]),
)
