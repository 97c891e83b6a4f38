"""Tests of the exceptions of the package."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.support.programs import ROOT
from tests.test_layers import MODULES, tree
from twisted_appserver.errors import how_to_install

INDEPENDENT = "tqueue.client."  # its modules need the standard library only


def exceptions() -> Iterator[tuple[str, list[str], str]]:
    """Return the classes whose bases are named like exceptions: name, bases and docstring."""
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


class ExtraTests(SynchronousTestCase):
    """Advice to install a missing package."""

    def test_the_advice_works_in_a_clone(self) -> None:
        """Messages name extras that exist, and pip finds them in a clone: nothing is published."""
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = set()
        for module in MODULES:
            for node in ast.walk(tree(module)):
                function = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if isinstance(node, ast.Call) and function in ("how_to_install", "require_package"):
                    named |= {each.value for each in node.args[-1:] if isinstance(each, ast.Constant)}
        self.assertLessEqual({"cluster", "docs", "metrics", "postgresql", "re2", "reload"}, named)
        self.assertEqual(named - extras.keys(), set())
        self.assertIn("pip install '.[metrics]'", how_to_install("metrics"))

    def test_nothing_is_installed_by_the_name_of_the_package(self) -> None:
        """Neither messages nor pages nor examples install it from an index, where it is not."""
        names = ("README.md", "CONTRIBUTING.md", "twisted_appserver", "twisted", "docs", "examples")
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--", *names], capture_output=True, text=True)
        files = [ROOT / name for name in listed.stdout.splitlines() if not name.endswith(".png")]
        if not files:
            raise SkipTest("this is not a clone")
        for path in files:
            text = path.read_text() if path.exists() else ""
            found = re.findall(r"install\b[^\n]*\btwisted_appserver(?:\[|==)[^\n]*", text)
            self.assertEqual(found, [], path)
