"""The exception for a value that does not fit its annotation."""

from __future__ import annotations

import json
from typing import Any

SHOWN = 60  # characters of a value in a message
HIDDEN: Any = object()  # stands for a value that is not shown


def shown(value: Any) -> str:
    """A value as JSON has it, except for text, which Python's quotes keep readable; shortened if long."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # what JSON cannot have, or too many digits
        text = "this value"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


class Unfit(ValueError):
    """
    Raised when a value does not fit an annotation.

    @ivar path: where in the value, such as C{.address.town} or C{[0]}; empty for all of it.
    @ivar why: continues a sentence that begins with the place, such as C{must be an integer}; or it begins
        with a colon.
    @ivar value: what was found there; L{HIDDEN} if the message does not show it.
    @ivar others: further faults of the same value.
    """

    def __init__(self, why: str, value: Any = HIDDEN, path: str = "", others: tuple[Unfit, ...] = ()) -> None:
        super().__init__(why)
        self.why, self.value, self.path, self.others = why, value, path, others

    def message(self, name: str, whole: str = "the body") -> str:
        """
        What the client reads.

        @param name: of the variable; empty if the value is made of all variables.
        @param whole: what these are called together.
        """
        place = f"{name}{self.path}".removeprefix(".") or whole
        remark = self.why.startswith(":")
        ending = (
            ""
            if self.value is HIDDEN
            else f" ({shown(self.value)})"
            if remark
            else f", not {shown(self.value)}"
        )
        sentences = [f"{place}{'' if remark else ' '}{self.why}{ending}"]
        sentences += [each.message(name, whole) for each in self.others]
        return "; ".join(sentences).encode("utf-8", "backslashreplace").decode()


def repeated(values: list[Any], path: str) -> Unfit:
    """The error for a field of a form or query that may be given once only."""
    count = "twice" if len(values) == 2 else f"{len(values)} times"
    return Unfit(f"is given {count}; give it once", HIDDEN, path)
