"""docs/queue-comparison.md is complete: each table has all rows, and each cell an answer."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support.programs import ROOT

PAGE = ROOT / "docs" / "queue-comparison.md"
FIRST_ROW = "what must run"  # its cells are no answers


def tables() -> list[list[list[str]]]:
    """Return the tables of the page: their rows, and the cells of these."""
    found = re.findall(r"(?m)^(?:\|.*\|\n)+", PAGE.read_text())
    return [[line.strip("|").split("|") for line in table.splitlines()] for table in found]


class TableTests(SynchronousTestCase):
    def test_tables_have_the_same_rows(self) -> None:
        first, *others = [[row[0].strip() for row in table] for table in tables()]
        self.assertGreater(len(first), 20)
        self.assertEqual(others, [first, first])

    def test_every_cell_is_an_answer(self) -> None:
        for heading, _, *rows in tables():
            for row in rows:
                name, *cells = (cell.strip() for cell in row)
                self.assertEqual(len(row), len(heading), name)
                for cell in cells:
                    if name == FIRST_ROW:
                        self.assertNotEqual(cell, "")
                    else:
                        self.assertRegex(cell, r"^(yes$|no$|(yes|no|partly): .+)", name)
