"""Checks of the table of mutations; C{python -m tests.faults.mutations} applies them."""

from __future__ import annotations

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.faults.mutations import MUTATIONS, ROOT


class MutationsTests(SynchronousTestCase):
    def test_each_mutation_changes_one_place(self) -> None:
        for mutation in MUTATIONS:
            source = (ROOT / "twisted_appserver" / mutation.file).read_text()
            self.assertEqual(source.count(mutation.text), 1, mutation)
            self.assertNotEqual(mutation.text, mutation.instead)

    def test_each_mutation_names_a_test(self) -> None:
        for mutation in MUTATIONS:
            found = TestLoader().loadByName(f"tests.{mutation.test}")
            self.assertGreater(found.countTestCases(), 0, mutation.test)
