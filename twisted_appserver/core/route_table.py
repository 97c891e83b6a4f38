"""Shows a table of patterns: as text for C{--check}, and as advice in a 404."""

from __future__ import annotations

from difflib import get_close_matches

from twisted_appserver.core.router import Router

MOST_CLOSEST = 10  # patterns in the advice of a 404


def format_table(router: Router) -> str:
    """Return the table as text, one line for each entry."""
    rows = [("pattern", "methods", "function", "runs on", "timeout")]
    for entry in router.entries:
        handler = entry.handler
        where = f"{getattr(handler.original, '__module__', '?')}:{handler.name}"
        timeout = "" if handler.timeout is None else f"{handler.timeout:g}"
        methods = " ".join(sorted(entry.methods - {"HEAD"}))
        rows.append((entry.regex, methods, where, handler.executor or "", timeout))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def closest_patterns(router: Router, path: str) -> list[str]:
    """Return the patterns of a table that are most similar to a path, the most similar one first."""
    return get_close_matches(path, [entry.regex for entry in router.entries], MOST_CLOSEST, 0.0)
