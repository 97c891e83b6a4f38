"""
Draws random sentences from the project's docs, docstrings, comments and messages.

C{python -m tests.support.sentences --seed 1 --number 50} prints 50 of them. A sentence that has to be read
twice is a defect. C{--tests} draws from the docstrings and comments of tests and benchmarks.
"""

from __future__ import annotations

import argparse
import ast
import io
import random
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "docs/**/*.md", "news/*.md")
SOURCES = ("twisted_appserver/**/*.py", "examples/**/*.py")
TESTS = ("tests/**/*.py", "benchmarks/*.py", "benchmarks/servers/*.py")
CODE = re.compile(r"(?ms)^```.*?^```|^\|.*?$|^<!--.*?-->|^ *>>>.*?$")  # fenced blocks, tables and comments
SENTENCE = re.compile(r"(?<=[.:!?])\s+(?=[A-Z`@\"'(])")
PARAGRAPH = re.compile(r"\n\s*\n|\n\s*(?=@)|\n\s*- ")
WORDS = 5  # words that make a sentence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=50)
    parser.add_argument("--tests", action="store_true")
    options = parser.parse_args()
    found = sorted(set(sentences_of_tests() if options.tests else sentences()))
    print(f"{options.number} of {len(found)} sentences, seed {options.seed}\n")
    for place, sentence in random.Random(options.seed).sample(found, options.number):
        print(f"{place}\n    {sentence}\n")


def sentences() -> Iterator[tuple[str, str]]:
    """Yield each sentence of pages and sources with its file."""
    for pattern in (*PAGES, *SOURCES):
        for path in ROOT.glob(pattern):
            text = path.read_text(encoding="utf-8")
            yield from _split(
                path,
                prose(text) if path.suffix == ".py" else re.split(r"\n\s*\n|\n\s*[-*] ", CODE.sub("", text)),
            )


def sentences_of_tests() -> Iterator[tuple[str, str]]:
    """Yield each sentence of docstrings and comments of tests and benchmarks with its file."""
    for pattern in TESTS:
        for path in ROOT.glob(pattern):
            yield from _split(path, prose(path.read_text(encoding="utf-8"), messages=False))


def _split(path: Path, parts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for part in parts:
        for sentence in SENTENCE.split(" ".join(part.split())):
            if len(sentence.split()) >= WORDS:
                yield str(path.relative_to(ROOT)), sentence


def prose(source: str, messages: bool = True) -> Iterator[str]:
    """
    Yield the paragraphs of docstrings, and comments joined over adjacent lines.

    @param messages: whether to yield all other text as well.
    """
    lines: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith("#!"):
            if token.start[0] != last + 1:
                yield " ".join(lines)
                lines = []
            lines.append(token.string.lstrip("# "))
            last = token.start[0]
    yield " ".join(lines)
    nodes = list(ast.walk(ast.parse(source)))
    if not messages:
        for node in nodes:
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from PARAGRAPH.split(ast.get_docstring(node) or "")
        return
    inner = {id(each) for node in nodes if isinstance(node, ast.JoinedStr) for each in node.values}
    for node in nodes:
        if id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from PARAGRAPH.split(node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(each.value) if isinstance(each, ast.Constant) else "..." for each in node.values
            )


if __name__ == "__main__":
    main()
