"""Tests of the exceptions of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.test_layers import MODULES, tree

INDEPENDENT = "tqueue.client."  # its modules need the standard library only


def exceptions() -> Iterator[tuple[str, list[str], str]]:
    """The classes that are exceptions by the names of their bases: name, bases and docstring."""
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base) for base in node.bases]
                if any(base.endswith(("Error", "Exception")) for base in bases):
                    yield f"{module}.{node.name}", bases, ast.get_docstring(node) or ""


class ExceptionTests(SynchronousTestCase):
    def test_all_derive_from_the_base_exception(self) -> None:
        """Only AppserverError itself derives from Exception."""
        found = {name for name, bases, _ in exceptions() if "Exception" in bases}
        self.assertEqual(
            {name for name in found if not name.startswith(INDEPENDENT)}, {"errors.AppserverError"}
        )

    def test_docstrings_say_when_they_are_raised(self) -> None:
        """The docstring of each exception begins with "Raised when"."""
        found = list(exceptions())
        self.assertGreater(len(found), 10)
        self.assertEqual([name for name, _, text in found if not text.startswith("Raised when")], [])
