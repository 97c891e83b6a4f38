"""Tests of the order of values in schemas."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.core.conversions.converters import converter_for


class Size(Enum):
    SMALL = "small"
    LARGE = "large"
    HUGE = "huge"
    TINY = "small"  # noqa: PIE796 - an alias


class Level(IntEnum):
    HIGH = 3
    LOW = 1


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Shirt(msgspec.Struct):
    size: Size
    print: Literal["none", "logo", "all"] = "none"
    colours: list[Colour] = []


def enumerations(schema: Any) -> list[list[Any]]:
    """Return the values of all enumerations in a schema."""
    if isinstance(schema, list):
        return [found for each in schema for found in enumerations(each)]
    if not isinstance(schema, dict):
        return []
    return [schema["enum"]] if "enum" in schema else enumerations(list(schema.values()))


class OrderTests(SynchronousTestCase):
    def test_values_have_the_order_of_their_definition(self) -> None:
        """Of enums and Literals, also inside of other types. Aliases are left out."""
        sizes, prints, colours = ["small", "large", "huge"], ["none", "logo", "all"], ["red", "blue"]
        for annotation, expected in (
            (Size, [sizes]),
            (Level, [[3, 1]]),
            (Colour, [colours]),
            (Literal["z", "a"], [["z", "a"]]),
            (Literal[2, "b", None, "a", 1], [[2, "b", None, "a", 1]]),
            (Annotated[Size | None, "what it is"], [sizes]),
            (dict[str, list[Size]], [sizes]),
            (Shirt, [sizes, prints, colours]),
            (Shirt | Level, [sizes, prints, colours, [3, 1]]),
        ):
            made = enumerations(list(converter_for(annotation).schema("#/{name}")))
            self.assertEqual(sorted(made, key=str), sorted(expected, key=str), annotation)
