"""
A table of functions for which client generators have failed: names, types, defaults and paths of every kind.

Nothing calls these functions. C{tests.admin.test_clients} makes clients of them.
"""

# ruff: noqa: B006, B008, E501

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial, wraps
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import pydantic
from msgspec import Meta, Struct, field

from twisted_appserver import Call, Reply, Route, Upload

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Number(enum.IntEnum):
    ONE = 1
    TWO = 2


class Node(Struct):
    name: str
    children: list[Node] = []
    parent: Node | None = None


class Box(Struct, Generic[T]):
    item: T


class Cat(Struct, tag="cat"):
    name: str


class Dog(Struct, tag="dog"):
    name: str
    age: int = 0


class Row(Struct, array_like=True):
    a: int
    b: str = ""


class Renamed(Struct, rename="camel"):
    first_name: str
    last_name: str = ""


class Pair(NamedTuple):
    x: int
    y: str = ""


class Keys(TypedDict):
    a: int
    b: NotRequired[str]


@attrs.define
class Attributes:
    a: int = 0
    when: datetime.datetime | None = None


@dataclasses.dataclass
class Data:
    a: list[Keys]
    m: dict[str, Node] = dataclasses.field(default_factory=dict)


class Inner(pydantic.BaseModel):
    z: str | int = 1


class Model(pydantic.BaseModel):
    a: int = pydantic.Field(ge=1)
    colour: Colour = Colour.RED
    inner: list[Inner] = []
    url: pydantic.HttpUrl | None = None


class Größe(Struct):
    wert: int


class Job(Struct):
    """Has the name of what the server itself describes."""

    a: int


class Words(Struct):
    id: int
    type: str
    class_: str = field(name="class", default="")
    self: str = ""


def nothing(): ...  # type: ignore[no-untyped-def]
def enums(colour: Colour, number: Number = Number.ONE) -> dict[Colour, int]: ...
def recursive(node: Node) -> Node: ...
def generic(b: Box[int], c: Box[Node]) -> Box[list[Node]]: ...
def tagged(pet: Cat | Dog, a: Row = Row(1)) -> Cat | Dog: ...
def renamed(r: Renamed, pair: Pair = Pair(1)) -> Pair: ...
def keys(td: Keys, at: Attributes = Attributes()) -> Data: ...
def models(p: Model) -> list[Model]: ...
def optional_model(p: Model | None = None, q: int | str = 3) -> Inner: ...
def umlauts(g: Größe) -> Größe: ...
def own_names(j: Job) -> Job: ...
def words(w: Words) -> Words: ...
def reserved(client: str, url: str, self_: int = 0, type: str = "", id: int = 1) -> dict: ...  # type: ignore[type-arg]
def replies(call: Call) -> Reply: ...
def files(files: list[Upload], meta: Keys | None = None, flags: list[bool] = [True]) -> dict[str, int]: ...
def everything(variables: dict) -> Missing: ...  # type: ignore[name-defined,type-arg]  # noqa: F821
def anything(*, a, b=None, **rest): ...  # type: ignore[no-untyped-def]
def mixed(x: Literal[1, 2, "a", None], y: Literal[True] = True) -> Any: ...
def union() -> Annotated[Reply, "text/html; charset=utf-8"] | Keys: ...


def times(
    a: datetime.datetime, b: datetime.time, c: datetime.timedelta = datetime.timedelta(1), d: bytes = b"x",
    e: decimal.Decimal = decimal.Decimal("1.5"), f: uuid.UUID | None = None,
) -> dict[str, Any]: ...  # fmt: skip


def collections(
    a: set[int] = set(), b: tuple[int, str] = (1, "a"), c: frozenset[str] = frozenset(), d: tuple[int, ...] = (),
) -> list: ...  # type: ignore[type-arg]  # fmt: skip


def defaults(
    a: dict[str, list[int]] = {}, b: Any = None, c: object = None, d: float = float("inf")
) -> object: ...


def lists(a: int | list[int] = 1, b: list[Literal["x", "y"]] = ["x"], c: list[Colour] = [Colour.RED]) -> Any:
    """
    Text with "quotes", \\ and 'single' ones, {braces}, *stars* and %s.

    More: ``x`` \\n and three of them: \"\"\".
    """


def limited(
    a: Annotated[int, Meta(ge=0, description="how many", examples=[1], title="A title")] = 1,
    q: Annotated[str, pydantic.Field(max_length=5, description="x")] = "a",
) -> Any: ...


async def stream(a: list[int] | None = None) -> AsyncIterator[Node]:
    yield Node("a")


class Methods:
    def method(self, a: int) -> Methods: ...

    def __call__(self, b: int) -> Iterator[Pair]:
        yield Pair(b)


def decorated(function: Any) -> Any:
    @wraps(function)
    def outer(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return outer


FUNCTIONS = (
    enums, recursive, generic, tagged, renamed, keys, models, optional_model, umlauts, own_names, words, reserved,
    replies, files, everything, anything, mixed, union, times, collections, defaults, lists, limited, stream,
)  # fmt: skip
url_patterns = (
    *((rf"/{function.__name__}/", function) for function in FUNCTIONS),
    (r"/method/(?P<a>\d+)/", Methods().method),
    (r"/object/", Methods()),
    (r"/partial/", partial(enums, colour=Colour.RED)),
    (r"/decorated/(?P<p>[^/]+)/", decorated(lambda p: {})),
    (r"/dash-ed/(?P<a_b>[a-z]+)\.(?P<c>json|xml)", lambda a_b, c: {}),
    (r"/größe/(?P<größe>\d+)/", lambda größe: {}),
    (r"/optional(?:/(?P<q>\d+))?/", lambda q="1": {}),
    (r"/(?:a|b)/(?:c|d)/", nothing),
    Route(r"/delete/", enums, methods=["DELETE"]),
    Route(r"/head/", enums, methods=["HEAD"]),
    Route(r"/methods/", limited, methods=["OPTIONS", "TRACE", "PATCH"]),
    (r"/question\?/x y/", nothing),
    (r"/(?P<import>\w+)/(?P<client>\w+)/", lambda **variables: {}),
)
