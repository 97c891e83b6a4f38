"""Writes measured figures into docs/scaling.md."""

import re
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, ["---"] * len(head), *rows))


def write(mark: str, text: str) -> None:
    """Replace the table or the sentence after the comment with this mark, and print it."""
    page = PAGE.read_text()
    pattern = rf"(<!-- {mark} -->\n\n)(?:[^<\n].*\n)*"
    if not re.search(pattern, page):
        raise SystemExit(f"{PAGE} has no comment <!-- {mark} --> with an empty line below it")
    PAGE.write_text(re.sub(pattern, lambda found: found[1] + text, page))
    print(text)
