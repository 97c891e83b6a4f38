"""Reads SQL from the files that are installed next to the modules that use it."""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.M)


def read_sql(package: str, file: str) -> str:
    """
    Read a file of SQL.

    @param package: the dotted name of the package that contains the file.
    """
    return (files(package) / file).read_text("utf-8")


def read_statements(package: str, file: str) -> dict[str, str]:
    """
    Read a file that contains several statements. A line C{-- name: put} begins the statement C{put}.

    @return: the statements by name, without the comments in front of the first one.
    """
    _, *parts = _NAME.split(read_sql(package, file))
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def read_migrations(package: str) -> tuple[str, ...]:
    """
    Read the files in the folder C{migrations}, such as C{0001_tables.sql}. The first number is 1.

    @return: the texts. The file at index C{n} brings a schema of version C{n} to version C{n + 1}.
    """
    found = {file.name: file for file in (files(package) / "migrations").iterdir()}
    names = sorted(name for name in found if name.endswith(".sql"))
    return tuple(found[name].read_text("utf-8") for name in names)
