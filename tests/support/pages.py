"""The pages of the documentation, read as text: their code, their commands and their links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.programs import ROOT

DOCS = ROOT / "docs"
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP), *sorted(DOCS.rglob("*.md"))]
# Pages whose sessions have a test of their own, because they need more than a server.
OWN_SESSIONS = {"guide/first-service.md", "queues/http.md", "troubleshooting.md"}
MISTAKES = DOCS / "troubleshooting.md"  # common mistakes, which do not work


def name_of(page: Path) -> str:
    """Return the name of a page in its folder, for messages."""
    return str(page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def with_includes(page: Path) -> str:
    """Return the text of a page with the files that it includes, but without pictures and navigation."""
    text = page.read_text()
    for name in re.findall(r"(?m)^```\{include\} (\S+)$", text):
        text += "\n".join((page.parent / name).read_text().splitlines()[1:])
    return re.sub(r"(?ms)^```\{.*?^```$\n?|!\[[^]]*\]\([^)]*\)|<!--.*?-->", "", text)


def programs() -> Iterator[tuple[str, str]]:
    """Yield each Python block of each page, with a name for messages."""
    for page in PAGES:
        if page == MISTAKES:
            continue
        for number, block in enumerate(blocks(page, "python"), 1):
            yield f"Python block {number} of {name_of(page)}", block


def has_sessions(page: Path) -> bool:
    """Return whether L{tests.test_docs_sessions} runs the shell sessions of a page."""
    return "```console\n" in page.read_text() and name_of(page) not in OWN_SESSIONS


def commands(page: Path, languages: Sequence[str] = ("sh", "text", "console")) -> Iterator[tuple[str, str]]:
    """Yield each command of a page below the heading of its section."""
    section, language = "", ""
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            language = line[3:] if not language else ""
        elif not language and (heading := re.match(r"#+ (.+)", line)):
            section = heading[1]
        elif language in languages and line.startswith("$ "):
            yield section, line[2:]
        elif language == "sh" and re.match(r"[a-z(.]", line):
            yield section, re.sub(r"\s{2,}#.*", "", line)


def titles(page: Path) -> list[str]:
    """Return the headings of a page. The first one is the title."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
    return re.findall(r"(?m)^#+ (.+)$", text)


def anchor(title: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
