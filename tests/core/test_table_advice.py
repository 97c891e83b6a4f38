"""Tests of what a table with a common mistake gets as advice."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.support import cases
from twisted_appserver import ConfigurationError, PatternError, Router, include
from twisted_appserver.core.application import Application


def fine() -> dict[str, Any]:
    return {}


class FunctionTests(SynchronousTestCase):
    def refused(self, *table: Any) -> str:
        return str(self.assertRaises(PatternError, Router, table))

    def test_misspelt_name_of_a_function_is_named_with_one_like_it(self) -> None:
        for name, advice in (
            ("ehco", "; did you mean 'echo'?"),
            ("xyzzy", "module 'tests.support.cases' has no function 'xyzzy'"),
        ):
            self.assertIn(advice, self.refused(("/", f"tests.support.cases:{name}")))

    def test_misspelt_module_of_a_function_is_named_with_its_folder(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        here = os.getcwd()
        os.chdir(folder)
        self.addCleanup(os.chdir, here)
        open("greet.py", "w").close()
        self.assertIn("there is no module gret in ", found := self.refused(("/", "gret:hello")))
        self.assertIn("; did you mean greet.py?", found)

    def test_import_that_fails_inside_the_module_is_reported_as_it_is(self) -> None:
        module = ModuleType("outer")
        with patch.dict(sys.modules, {"outer": module, "missing": None}):
            found = self.refused(("/", "missing.inner:f"))
        self.assertIn("missing", found)

    def test_group_like_a_parameter_is_named_with_it(self) -> None:
        def greet(name: str, other: str = "") -> dict[str, Any]:
            return {}

        self.assertIn("the group 'nam'; did you mean 'name'?", self.refused((r"/(?P<nam>)", greet)))
        self.assertTrue(self.refused((r"/(?P<xyzzy>)", greet)).endswith("the group 'xyzzy'"))


class IncludeTests(SynchronousTestCase):
    def test_module_in_place_of_a_table_gets_advice(self) -> None:
        for given, advice in (
            ("v1", "include takes a table, not the name 'v1'; import it and write v1.url_patterns"),
            ("shop.v1", "write shop.v1.url_patterns"),
            (cases, "include takes a table, not a module; write tests.support.cases.url_patterns"),
        ):
            error = self.assertRaises(PatternError, Router, [include("/v1", given)])
            self.assertEqual(str(error).partition(": ")[0], "url_patterns[0]")
            self.assertIn(advice, str(error))

    def test_name_in_place_of_the_table_gets_advice(self) -> None:
        error = self.assertRaises(PatternError, Router, "lim")
        self.assertEqual(
            str(error),
            "url_patterns must be a sequence of (regex, function) pairs, not 'lim'; to serve the module or "
            "the file of this name, write app='lim'",
        )

    def test_two_slashes_in_a_row_are_a_problem(self) -> None:
        for table in (
            [include("/v1/", [("/hello/", fine)])],
            [include("/v1/", [include("/more", [("/hello/", fine)])])],
            [("/v1//hello/", fine)],
        ):
            (problem,) = Router(table).problems
            self.assertIn("matches only paths with //; remove the / at the end of the prefix", problem)
        for table in (
            [include("/v1/", [("hello/", fine)])],
            [include("/v1", [("/hello/", fine)])],
            [("/proxy/https?://.*", fine)],
        ):
            self.assertEqual(Router(table).problems, [])


class VariableTests(SynchronousTestCase):
    def test_variable_that_is_no_table_is_named(self) -> None:
        """Also if it is not url_patterns."""
        module = ModuleType("shop")
        for name, value in (("v", 5), ("url_patterns", "v1"), ("v", fine)):
            setattr(module, name, value)
            with patch.dict(sys.modules, shop=module):
                error = self.assertRaises(ConfigurationError, Application("shop", name=name).load)
            self.assertIn(f"{name} in shop must be a sequence of (regex, function) pairs, not", str(error))
