"""
Draws random sentences from the project's docs, docstrings, comments and messages, for a reader to judge.

C{python -m tests.support.sentences --seed 1 --number 50}: a sentence that has to be read twice is a defect.
"""

from __future__ import annotations

import argparse
import ast
import io
import random
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "docs/*.md", "docs/decisions/*.md", "news/*.md")
SOURCES = ("twisted_appserver/**/*.py", "examples/**/*.py")
CODE = re.compile(r"(?ms)^```.*?^```|^\|.*?$|^<!--.*?-->|^ *>>>.*?$")  # fenced blocks, tables and comments
SENTENCE = re.compile(r"(?<=[.:!?])\s+(?=[A-Z`@\"'(])")
WORDS = 5  # words that make a sentence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=50)
    options = parser.parse_args()
    found = sorted(set(sentences()))
    print(f"{options.number} of {len(found)} sentences, seed {options.seed}\n")
    for place, sentence in random.Random(options.seed).sample(found, options.number):
        print(f"{place}\n    {sentence}\n")


def sentences() -> Iterator[tuple[str, str]]:
    """Yield each sentence with its file."""
    for pattern in (*PAGES, *SOURCES):
        for path in ROOT.glob(pattern):
            text = path.read_text(encoding="utf-8")
            parts = (
                prose(text) if path.suffix == ".py" else re.split(r"\n\s*\n|\n\s*[-*] ", CODE.sub("", text))
            )
            for part in parts:
                for sentence in SENTENCE.split(" ".join(part.split())):
                    if len(sentence.split()) >= WORDS:
                        yield str(path.relative_to(ROOT)), sentence


def prose(source: str) -> Iterator[str]:
    """Yield the paragraphs of docstrings, comments joined over adjacent lines, and messages."""
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
    inner = {id(each) for node in nodes if isinstance(node, ast.JoinedStr) for each in node.values}
    for node in nodes:
        if id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.split(r"\n\s*\n|\n\s*(?=@)|\n\s*- ", node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(each.value) if isinstance(each, ast.Constant) else "..." for each in node.values
            )


if __name__ == "__main__":
    main()
