"""
Turn the regular expressions of a table into path templates, such as C{/person/{id}/} (OpenAPI 3.1).

A pattern with alternatives becomes several templates: C{/(?:en|de)/(?P<id>)/} is C{/en/{id}/} and
C{/de/{id}/}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import product
from typing import Any
from urllib.parse import quote, unquote

from twisted_appserver.core.regex_syntax import REPEATS, codes, parser
from twisted_appserver.errors import AppserverError

RESERVED = "{}?#%\\"  # characters that have a meaning of their own in a template or in a URL
NO_WIDTH = () if codes is None else (codes.AT, codes.ASSERT, codes.ASSERT_NOT)
MAX_TEMPLATES = 32  # alternatives of one pattern; more would only make the document long
# Features that the regular expressions of JSON Schema (ECMA-262) lack: flags, comments, atomic groups,
# possessive repetitions, and references and conditions by name.
PYTHON_ONLY = re.compile(r"\(\?(?:[aiLmsux-]+[:)]|#|>|\(|P=)|[*+?}]\+|\\[AZ]")

Template = tuple[str, dict[str, str]]


class UndescribableError(AppserverError):
    """Raised when OpenAPI cannot describe a pattern or a method of an entry. The message has the reason."""


def path_templates(regex: str) -> list[Template]:
    """
    Convert a pattern to paths with C{{names}}. Optional parts without a name are omitted. For an optional
    part with a name, there is one path with the part and one without it.

    @return: each path, with the regular expression of each name in it.
    @raise UndescribableError: when the pattern has a part without a name that is not fixed text.
    """
    if parser is None:
        raise UndescribableError("this version of Python does not show how it reads regular expressions")
    parsed = parser.parse(regex)
    names = {number: name for name, number in parsed.state.groupdict.items()}
    expressions = {name: _group_regex(regex, name) for name in names.values()}
    templates: list[Template] = []
    for path in dict.fromkeys(_paths(parsed, names)):
        path = path if path.startswith("/") else f"/{path}"
        found = re.findall(r"\{(\w+)\}", path)
        if not found and not re.fullmatch(regex, unquote(path)):
            continue  # an assertion excludes it
        templates.append((path, {name: expressions[name] for name in found}))
    if not templates:
        raise UndescribableError("its assertions exclude every path")
    return templates


def _paths(items: Any, names: dict[int, str]) -> list[str]:
    """Return the templates that a part of a pattern can add to the path."""
    return _joined(_item_paths(code, value, names) for code, value in items)


def _joined(parts: Iterable[list[str]]) -> list[str]:
    """Return every combination of the alternatives of consecutive parts."""
    paths = [""]
    for part in parts:
        paths = ["".join(both) for both in product(paths, part)]
        if len(paths) > MAX_TEMPLATES:
            raise UndescribableError(f"it has more than {MAX_TEMPLATES} alternatives")
    return paths


def _item_paths(code: Any, value: Any, names: dict[int, str]) -> list[str]:
    if code is codes.LITERAL:
        return [_escape(value)]
    if code is codes.IN:
        return _characters(value)
    if code is codes.SUBPATTERN:
        return [f"{{{names[value[0]]}}}"] if value[0] in names else _paths(value[3], names)
    if code is codes.ATOMIC_GROUP:
        return _paths(value, names)
    if code is codes.BRANCH:
        return [path for branch in value[1] for path in _paths(branch, names)]
    if code in (*REPEATS, codes.POSSESSIVE_REPEAT):
        least, most, inside = value
        return _repeated(least, most, inside, names)
    if code in NO_WIDTH:
        return [""]
    raise UndescribableError("it has a part without a name that is not fixed text")


def _repeated(least: int, most: int, items: Any, names: dict[int, str]) -> list[str]:
    if least:
        paths = _paths(items, names)
        if most > 1 and any("{" in path for path in paths):
            raise UndescribableError("it repeats a group")
        return _joined([paths] * least)
    try:
        named = [path for path in _paths(items, names) if "{" in path] if most == 1 else []
    except UndescribableError:  # it may be left out
        named = []
    return [*named, ""]


def _characters(items: Any) -> list[str]:
    """Return the characters of a set."""
    found: list[str] = []
    for code, value in items:
        if code is codes.LITERAL:
            found.append(_escape(value))
        elif code is codes.RANGE and value[1] - value[0] < MAX_TEMPLATES:
            found += map(_escape, range(value[0], value[1] + 1))
        else:
            raise UndescribableError("it has a part without a name that is not fixed text")
    return found


def _escape(code_point: int) -> str:
    """Return a character as a template must contain it."""
    character = chr(code_point)
    if character == "%":  # some generators decode paths twice, and fail
        raise UndescribableError("it has a %, which a path template cannot contain")
    return quote(character, safe="") if character in RESERVED else character


def _group_regex(regex: str, name: str) -> str:
    """Return the regular expression inside a group: the shortest text up to a C{)} that is a valid one."""
    inner = regex.partition(f"(?P<{name}>")[2]
    for end in re.finditer(r"\)", inner):
        with suppress(re.error):
            re.compile(inner[: end.start()])
            return inner[: end.start()]
    return ".*"


def schema_pattern(regex: str) -> str:
    """
    Return the regular expression of a group as JSON Schema writes it (ECMA-262).

    @return: an empty string if every text matches, or if ECMA-262 cannot express the regular expression.
    """
    if regex in ("[^/]+", ".+", ".*") or PYTHON_ONLY.search(regex):
        return ""
    return f"^(?:{re.sub(r'[(][?]P<[^>]*>', '(?:', regex)})$"
