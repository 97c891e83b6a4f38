"""Turn the regular expressions of a table into path templates, such as C{/person/{id}/} (OpenAPI 3.1)."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from twisted_appserver.core.regex_syntax import REPEATS, codes, parser

RESERVED = "{}?#%\\"  # characters that have a meaning of their own in a template or in a URL
NO_WIDTH = () if codes is None else (codes.AT, codes.ASSERT, codes.ASSERT_NOT)


def path_template(regex: str) -> tuple[str, dict[str, str]] | None:
    """
    Convert a pattern to a path with C{{names}}. Optional parts without a name are omitted.

    @return: the path, and the regular expression of each name; C{None} if the pattern has a part without a
        name that is not fixed text, since OpenAPI cannot describe that.
    """
    if parser is None:  # a Python version without the regular expression parser that is used here
        return None
    parsed = parser.parse(regex)
    names = {number: name for name, number in parsed.state.groupdict.items()}
    path = _path(parsed, names)
    if path is None:
        return None
    groups = {name: _group_regex(regex, name) for name in re.findall(r"\{(\w+)\}", path)}
    return path if path.startswith("/") else f"/{path}", groups


def _path(items: Any, names: dict[int, str]) -> str | None:
    """Return what a part of a pattern adds to the path; C{None} if that is not fixed."""
    path = ""
    for code, value in items:
        part: str | None = None
        if code is codes.LITERAL and chr(value) not in RESERVED:
            part = chr(value)
        elif code is codes.SUBPATTERN:
            part = f"{{{names[value[0]]}}}" if value[0] in names else _path(value[3], names)
        elif code in REPEATS and value[0] < 2:
            part = _path(value[2], names)
            if not (value[0] or "{" in (part or "")):
                part = ""
        elif code in NO_WIDTH:
            part = ""
        if part is None:
            return None
        path += part
    return path


def _group_regex(regex: str, name: str) -> str:
    """Return the regular expression inside a group: the shortest text up to a C{)} that is a valid one."""
    inner = regex.partition(f"(?P<{name}>")[2]
    for end in re.finditer(r"\)", inner):
        with suppress(re.error):
            re.compile(inner[: end.start()])
            return inner[: end.start()]
    return ".*"
