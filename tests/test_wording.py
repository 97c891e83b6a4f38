"""The wording of pages, docstrings, comments and messages: no phrases that readers had to read twice."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support.pages import MISTAKES, PAGES
from tests.support.programs import ROOT
from tests.test_layers import MODULES

# Each was in a sentence that readers had to read twice: a pronoun without a noun, a program that speaks, a
# private metaphor, a passive without an actor.
PHRASES = (
    "that of", "of whoever", "what there is", "which are none", "which nobody waits", "also where", "but for",
    "warned of", "asks who", "let in", "the books", "mercy", "is over for", "this is no", "there is no Host",
    "have an end", "without that a", "is set to come", "the old code goes on", "they are over", "it were \\d",
    "whose `__name__` is another", "what stands under", "out of garbage collections", "have not a",
)  # fmt: skip


class WordingTests(SynchronousTestCase):
    def test_phrases_that_had_to_be_read_twice_stay_away(self) -> None:
        paths = [page for page in PAGES if page != MISTAKES]
        paths += [ROOT / path for path in MODULES.values()]
        paths += [*(ROOT / "examples").rglob("*.py"), *(ROOT / "news").glob("*.md")]
        paths += (ROOT / "twisted_appserver" / "admin" / "static").glob("*.*")
        self.assertGreater(len(paths), 300)
        phrases = re.compile(rf"\b(?:{'|'.join(PHRASES)})\b", re.IGNORECASE)
        found = []
        for path in paths:
            text = re.sub(r"\s+(?:#|\*|//)?\s*", " ", path.read_text("utf-8"))
            found += [
                f"{path.name}: {text[max(0, each.start() - 40) : each.end() + 40]}"
                for each in phrases.finditer(text)
            ]
        self.assertEqual(found, [])
