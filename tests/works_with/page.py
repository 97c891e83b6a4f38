"""Generates docs/works-with.md from the table: C{python -m tests.works_with.page}."""

from __future__ import annotations

import inspect
from itertools import groupby

from tests.support.programs import ROOT
from tests.works_with.functions import DASK, REACTOR, THREADS, USES, WORKERS, Use, decimal_context

PAGE = ROOT / "docs" / "works-with.md"
COLUMNS = {THREADS: "threads", WORKERS: "worker processes", REACTOR: "reactor", DASK: "Dask"}
SOURCE = inspect.getsource(decimal_context)
HEAD = f"""\
# What it works with

Each row is a small function, such as this one:

```python
{SOURCE[SOURCE.index("def ") :].rstrip()}
```

The tests call each function in a real server, eight times and four at a time. *yes* means that it works. *no*
means that it fails with a message that contains the text in the note. A dash means that it does not apply.
Coroutine functions run on the reactor. All other functions run in threads (`--type threaded`), in worker
processes (`--type forked`) or on Dask (`--type cluster`). The functions are in
`tests/works_with/functions.py`, and `python -m tests.works_with.page` generates this page from them.
"""


def _cell(use: Use, place: str) -> str:
    if place not in use.where:
        return "-"
    return "no" if place in use.fails else "yes"


def _row(use: Use) -> str:
    messages = "".join(f" Message: `{text}`." for text in dict.fromkeys(use.fails.values()))
    cells = (use.title, *(_cell(use, place) for place in COLUMNS), use.note + messages)
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    for group, uses in groupby(USES, lambda use: use.group):
        columns = ("", *COLUMNS.values(), "note")
        parts.append(f"\n## {group}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
        parts.extend(map(_row, uses))
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
