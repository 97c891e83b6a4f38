"""The exception for a value that cannot be converted to the annotated type."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted_appserver.core.upload import Upload

MAX_SHOWN = 60  # characters of a value in a message
IS_MISSING = "is missing"
HIDDEN: Any = object()  # stands for a value that a message does not show


def format_value(value: Any) -> str:
    """Format a value for a message: text in Python's quotes, everything else as JSON. Shorten long values."""
    if isinstance(value, Upload):
        return "a file"
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_file)
    except (TypeError, ValueError):  # JSON cannot represent it, or an integer has too many digits
        text = "this value"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _file(value: Any) -> str:
    """Return a text in place of a file in a list or an object."""
    if isinstance(value, Upload):
        return "a file"
    raise TypeError


class ConversionError(ValueError):
    """
    Raised when a value cannot be converted to the annotated type.

    @ivar reason: continues a sentence that starts with the path, such as C{must be an integer}. If it starts
        with a colon, it is a complete message.
    @ivar value: the offending value; L{HIDDEN} if the message does not show it.
    @ivar path: the path to the offending value, such as C{.address.town} or C{[0]}; empty for the value
        itself.
    @ivar others: more errors in the same value.
    """

    def __init__(
        self, reason: str, value: Any = HIDDEN, path: str = "", others: tuple[ConversionError, ...] = ()
    ) -> None:
        super().__init__(reason)
        self.reason, self.value, self.path, self.others = reason, value, path, others

    def message(
        self, name: str, whole: str = "the body", hint: Callable[[str], str] = lambda field: ""
    ) -> str:
        """
        Return the message for the client.

        @param name: the name of the variable; empty if the value was built from all variables.
        @param whole: what to call all variables together.
        @param hint: returns what to add about a variable that is missing.
        """
        place = f"{name}{self.path}".removeprefix(".") or whole
        standalone = self.reason.startswith(":")
        ending = ""
        if self.value is not HIDDEN:
            ending = f" ({format_value(self.value)})" if standalone else f", not {format_value(self.value)}"
        if self.reason == IS_MISSING:
            ending = hint(place)
        sentences = [f"{place}{'' if standalone else ' '}{self.reason}{ending}"]
        sentences += [each.message(name, whole, hint) for each in self.others]
        return "; ".join(sentences).encode("utf-8", "backslashreplace").decode()


def repeated_field_error(values: list[Any], path: str) -> ConversionError:
    """Return the error for a form or query field that occurs several times but takes one value."""
    count = "twice" if len(values) == 2 else f"{len(values)} times"
    return ConversionError(f"is given {count}; give it once", HIDDEN, path)
