"""Tests of C{--check}, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Router
from twisted_appserver.core.application import Application
from twisted_appserver.serving import check as module
from twisted_appserver.serving.check import check
from twisted_appserver.serving.service import AppService
from twisted_appserver.settings import settings_from_keywords


def nothing() -> None: ...


def fine() -> dict[str, Any]:
    return {}


class CheckTests(SynchronousTestCase):
    def check(self, patterns: Any = (("/", fine),), **options: Any) -> tuple[list[str], bool]:
        settings, router = settings_from_keywords(**options), Router(patterns)
        service = AppService(reactor, settings, Application(name=""), router)
        text, passed = check(reactor, settings, service, router)
        return text.splitlines(), passed

    def problem(self, **options: Any) -> str:
        (line, summary), passed = self.check(**options)
        self.assertFalse(passed)
        self.assertEqual(summary, "a table without a file, 1 route: 1 problem")
        return line

    def test_success_names_what_was_checked(self) -> None:
        """One line, with the options that were checked."""
        checked = "a table without a file, 1 route: no problems; checked: patterns, functions, addresses"
        self.assertEqual(self.check(), ([f"{checked}, packages"], True))
        path = Path(self.mktemp())
        path.touch(0o600)
        path.write_text("0123456789abcdefTOKEN")
        expected = f"{checked}, token and passwords, access log, packages"
        self.assertEqual(self.check(token_file=path, access_log=str(path)), ([expected], True))

    def test_table_that_cannot_work_fails(self) -> None:
        """All problems are listed: in the table and in the options."""
        lines, passed = self.check([("/<m>/", nothing)], token_file="/no/token")
        self.assertFalse(passed)
        self.assertEqual([line.startswith("problem: ") for line in lines], [True, True, True, False])
        self.assertEqual(lines[-1], "a table without a file, 1 route: 3 problems")

    def test_option_that_cannot_work_fails(self) -> None:
        """A missing token, an access log that cannot be written, and an address that others can reach."""
        self.assertIn("--token-file /no/token: No such file", self.problem(token_file="/no/token"))
        self.assertIn("--access-log /no/log: cannot be written", self.problem(access_log="/no/log"))
        self.assertIn("0.0.0.0 can be reached from other machines", self.problem(listen=("tcp:1",)))

    def test_missing_package_fails(self) -> None:
        """An option needs a package that is not installed."""
        with patch.object(module, "find_spec", return_value=None):
            self.assertIn("--reload needs the package watchfiles", self.problem(reload=True))
