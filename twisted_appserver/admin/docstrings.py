"""
Reads docstrings: the summary, the text, and what they state about parameters and the result. Pure.

Four dialects are read: epytext (C{@param name: text}), Sphinx (C{:param name: text}), Google (C{Args:}) and
numpydoc (C{Parameters} with a line of dashes). The text is Markdown, or plain text, which looks the same.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

FIELD = re.compile(r"[@:](\w+)(?:[ \t]+([^:]*?))?:(?:\s+|$)(.*)")
SECTION = re.compile(r"(Args|Arguments|Parameters|Attributes|Returns|Yields|Raises)(:?)")
RULE = re.compile(r"-{3,}")
GOOGLE_ITEM = re.compile(r"\*{0,2}(\w+)[ \t]*(?:\([^()]*\))?:(?:\s+|$)(.*)")
NUMPY_ITEM = re.compile(r"\*{0,2}(\w+)(?:[ \t]*:.*)?()")
MARKUP = re.compile(r"\b[CLIB]\{([^{}]*)\}")
NAMED = ("param", "parameter", "arg", "argument", "keyword", "ivar")
RESULTS = ("return", "returns", "yield", "yields")
OTHERS = ("raise", "raises", "except", "type", "rtype", "note", "see", "since")


@dataclass
class Docstring:
    """
    What a docstring states.

    @ivar summary: its first line.
    @ivar text: the other paragraphs.
    @ivar parameters: the descriptions of parameters or attributes, by name.
    @ivar result: the description of the result; empty if there is none.
    """

    summary: str = ""
    text: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    result: str = ""


def read_docstring(documented: Any) -> Docstring:
    """
    Read the docstring of a function or a class.

    @param documented: the function or class; or the text itself.
    """
    text = documented if isinstance(documented, str) else inspect.getdoc(documented) or ""
    found, kept = Docstring(), list[str]()
    lines = MARKUP.sub(r"`\1`", inspect.cleandoc(text)).splitlines()
    for line, following in _with_following(lines):
        if (about := FIELD.fullmatch(line)) and about[1] in (*NAMED, *RESULTS, *OTHERS):
            body = [about[3], *_indented(following)]
            _add(found, about[1], (about[2] or "").split(" ")[-1], body)
        elif (section := SECTION.fullmatch(line)) and _is_section(section, following):
            _read_section(found, section, following)
        else:
            kept.append(line)
    found.summary, _, rest = "\n".join(kept).strip().partition("\n")
    found.text = rest.strip()
    return found


def _with_following(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield lines, each with the list of the lines that follow. The caller may take lines from that list."""
    while lines:
        yield lines.pop(0), lines


def _indented(following: list[str]) -> list[str]:
    """Take the lines that are indented, with the blank lines between them."""
    taken: list[str] = []
    while following and (following[0][:1].isspace() or not following[0]):
        if not following[0] and not (len(following) > 1 and following[1][:1].isspace()):
            break
        taken.append(following.pop(0))
    return taken


def _is_section(section: re.Match[str], following: list[str]) -> bool:
    if section[2]:
        return bool(following) and following[0][:1].isspace()
    return bool(following) and RULE.fullmatch(following[0]) is not None


def _read_section(found: Docstring, section: re.Match[str], following: list[str]) -> None:
    """Take the lines of a section of Google's or numpydoc's dialect."""
    if section[2]:
        body, item = inspect.cleandoc("\n".join(_indented(following))).splitlines(), GOOGLE_ITEM
    else:
        body, item = _until_rule(following), NUMPY_ITEM
    if section[1] in ("Returns", "Yields"):
        described = [line for line in body if line[:1].isspace()]  # numpydoc has the type in front
        _add(found, "returns", "", described or body)
    elif section[1] != "Raises":
        for line, rest in _with_following(body):
            if about := item.fullmatch(line):
                _add(found, "param", about[1], [about[2], *_indented(rest)])


def _until_rule(following: list[str]) -> list[str]:
    """Take the lines of a section of numpydoc's dialect: up to the next heading."""
    following.pop(0)
    taken: list[str] = []
    while following and not (len(following) > 1 and RULE.fullmatch(following[1])):
        taken.append(following.pop(0))
    return taken


def _add(found: Docstring, kind: str, name: str, lines: list[str]) -> None:
    text = " ".join(" ".join(lines).split())
    if kind in NAMED:
        found.parameters[name.strip("*")] = text
    elif kind in RESULTS:
        found.result = text
