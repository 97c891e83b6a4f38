"""What a table looks like: for whoever writes it."""

from __future__ import annotations

from difflib import get_close_matches

from twisted_appserver.core.router import Router


def routes(router: Router) -> str:
    """The table as text, a line for each entry."""
    rows = [("pattern", "methods", "function", "runs on", "timeout")]
    for entry in router.entries:
        handler = entry.handler
        where = f"{getattr(handler.function, '__module__', '?')}:{handler.name}"
        timeout = "" if handler.timeout is None else f"{handler.timeout:g}"
        methods = " ".join(sorted(entry.methods - {"HEAD"}))
        rows.append((entry.regex, methods, where, handler.executor or "", timeout))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def near(router: Router, path: str) -> str:
    """For a path that nothing matches: the pattern that is most like it, and all others."""
    regexes = [entry.regex for entry in router.entries]
    nearest = get_close_matches(path, regexes, 1, 0.3)
    said = f"the nearest is {nearest[0]}; " if nearest else ""
    return f"{said}there are: {', '.join(regexes)}"
