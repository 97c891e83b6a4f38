"""Tests of what is reported if an application cannot be imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import ConfigurationError
from twisted_appserver.core.application import Application


class ImportErrorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        for patcher in (patch.object(sys, "path", list(sys.path)), patch.dict(sys.modules)):
            patcher.start()
            self.addCleanup(patcher.stop)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)

    def problem(self, target: str, **files: str) -> str:
        """Write files, and return why an application cannot be loaded. The folder is left out."""
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text)
        message = str(self.assertRaises(ConfigurationError, lambda: Application.parse(target).load()))
        self.assertNotIn("\n", message)
        return message.replace(f"{self.folder}/", "").removeprefix("the application cannot be imported: ")

    def test_line_of_the_error_is_named(self) -> None:
        """The file, the line and the error: of a file and of a module."""
        for target in ("broken_a.py", "broken_a"):
            self.assertEqual(
                self.problem(target, broken_a="x = 1\n1 / 0\n"),
                "broken_a.py:2: ZeroDivisionError: division by zero",
            )

    def test_missing_module_is_reported_where_it_is_imported(self) -> None:
        """A module that the application imports does not exist."""
        self.assertEqual(
            self.problem("broken_b", broken_b="import no_such_thing\n"),
            "broken_b.py:1: ModuleNotFoundError: No module named 'no_such_thing'",
        )

    def test_syntax_error_is_shown(self) -> None:
        """A syntax error: its line in the file, and the text there."""
        self.assertEqual(
            self.problem("broken_c.py", broken_c="x = 1\ndef f(:\n"),
            "broken_c.py:2: SyntaxError: invalid syntax in 'def f(:'",
        )

    def test_importing_file_is_named_too(self) -> None:
        """The error is in a file that the application imports: both lines are named."""
        expected = "broken_e.py:1: NameError: name 'z' is not defined (imported by broken_d.py:2)"
        self.assertEqual(
            self.problem("broken_d.py", broken_d="\nimport broken_e\n", broken_e="z\n"), expected
        )

    def test_lines_of_libraries_are_left_out(self) -> None:
        """An error in a library is reported at the line of the application that calls it."""
        message = self.problem("broken_f", broken_f='import json\njson.loads("{")\n')
        self.assertTrue(message.startswith("broken_f.py:2: JSONDecodeError: Expecting"), message)

    def test_message_is_one_line(self) -> None:
        """Messages with several lines or none, and sys.exit()."""
        self.assertEqual(
            self.problem("broken_g", broken_g='raise ValueError("two\\nlines")'),
            "broken_g.py:1: ValueError: two lines",
        )
        self.assertEqual(self.problem("broken_h", broken_h="raise KeyError"), "broken_h.py:1: KeyError")
        self.assertEqual(
            self.problem("broken_i", broken_i="import sys; sys.exit('no')"), "broken_i.py:1: SystemExit: no"
        )

    def test_misspelt_application_gets_the_closest_file(self) -> None:
        """A module or file that does not exist."""
        (self.folder / "shop.py").touch()
        self.assertEqual(
            self.problem("shpo"),
            f"there is no module shpo in {self.folder} or on Python's path; did you mean shop.py?",
        )
        self.assertEqual(self.problem("shpo.py"), "file not found: shpo.py; did you mean shop.py?")
        self.assertEqual(self.problem("/no/shop.py"), "file not found: /no/shop.py")

    def test_path_without_its_suffix_gets_the_file(self) -> None:
        (self.folder / "shop.py").touch()
        for target in ("./shop", "./shop:urls"):
            self.assertEqual(
                self.problem(target),
                f"an application must be module, module:name or a .py file, not {target!r}; "
                "did you mean ./shop.py?",
            )
        self.assertEqual(self.problem("./shpo"), "file not found: ./shpo.py; did you mean shop.py?")

    def test_other_variable_that_is_a_table_is_named(self) -> None:
        """The file has no url_patterns, but a variable that looks like a table."""
        self.assertEqual(
            self.problem("other_a.py", other_a="urls = (('/a/', print),)\n"),
            "other_a.py has no variable url_patterns; did you mean other_a.py:urls?",
        )
        self.assertIn("define it or name another", self.problem("other_b.py", other_b="x = (1, 2)\n"))
