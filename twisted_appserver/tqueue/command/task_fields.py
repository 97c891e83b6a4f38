"""The fields of a task, as typed on the command line or read from standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ..client.items import RESERVED

SEVERAL = re.compile(r"[^=\s]+=[^\s\"]+\s+[A-Za-z_]\w*=")  # two fields, not text that contains an equals sign


def _json(text: str) -> Any:
    """
    Parse strict JSON.

    @raise ValueError: when the text is not JSON. Python alone would accept NaN, and 1e400 as infinity.
    """
    value = json.loads(text)
    json.dumps(value, allow_nan=False)
    return value


def _object(text: str) -> dict[str, Any]:
    try:
        return dict(_json(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a JSON object: {error}") from None


def read_fields(words: Sequence[str], queue: str) -> dict[str, Any]:
    """
    Parse the fields of a task: C{name=value}, where the value is JSON or else text, or one JSON object.

    @param queue: the name of the queue, which is the only allowed value of the reserved field C{worker}.
    @raise ValueError: when they cannot be used.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        fields = _object(words[0])
    else:
        fields = dict(_field(word) for word in words)
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a task must be text in UTF-8") from None
    if fields.pop(RESERVED, queue) != queue:
        raise ValueError(f"the name {RESERVED!r} is reserved for the queue; give the field another name")
    return fields


def check_line(line: str) -> None:
    """
    @raise ValueError: when a line of standard input seems to have several fields.
    """
    if not line.lstrip().startswith("{") and SEVERAL.match(line):
        raise ValueError(
            "a line has one field, name=value; write several as a JSON object, as in "
            '{"width": 7, "height": 2}'
        )


def _field(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"a field must be name=value, or the task one JSON object, not {word!r}")
    return name, read_value(value, f"the value of {name}")


def read_value(text: str, what: str) -> Any:
    """
    Parse a value that is JSON or else text.

    @param what: begins the message.
    @raise ValueError: when it begins like an object, a list or text of JSON, but is not JSON.
    """
    try:
        return _json(text)
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith(("{", "[", '"')):
            return text
        raise ValueError(
            f"{what} begins like JSON, but is not JSON: {error}; write text as a JSON string: "
            f"{json.dumps(text, ensure_ascii=False)}"
        ) from None
