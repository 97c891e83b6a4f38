"""Tests of .ci/lowest: the lower bounds of pyproject.toml as pins."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.support.programs import ROOT

SCRIPT = ROOT / ".ci" / "lowest"


def load() -> Any:
    """Load the script as a module. It has no suffix, and writes no bytecode."""
    loader = SourceFileLoader("lowest", str(SCRIPT))
    spec = spec_from_loader("lowest", loader)
    assert spec is not None
    module = module_from_spec(spec)
    with patch.object(sys, "dont_write_bytecode", True):
        loader.exec_module(module)
    return module


class LowestTests(SynchronousTestCase):
    def test_pins_are_the_lower_bounds_of_core_and_service_extras(self) -> None:
        """Without the tools."""
        project = {
            "name": "ours",
            "dependencies": ["twisted[tls]>=26.10", "zope.interface >= 8"],
            "optional-dependencies": {
                "metrics": ["a_b>=1.2.3"],
                "both": ["ours[metrics]"],
                "test": ["other>=4"],
                "dev": ["any"],
            },
        }
        self.assertEqual(load().lowest(project), {"twisted": "26.10", "zope.interface": "8", "a_b": "1.2.3"})

    def test_requirement_without_a_plain_lower_bound_is_an_error(self) -> None:
        """The message quotes it."""
        for requirement in ("klein", "klein==24.8", "klein>=24.8,<25", "klein>=24.8; os_name == 'nt'"):
            error = self.assertRaises(ValueError, load().lowest, {"dependencies": [requirement]})
            self.assertIn(requirement, str(error))

    def test_each_of_our_requirements_has_a_pin(self) -> None:
        done = subprocess.run(
            [sys.executable, SCRIPT], capture_output=True, text=True, timeout=60, check=True
        )
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        pins = done.stdout.splitlines()
        self.assertEqual(len(pins), len(load().lowest(project)), done.stderr)
        self.assertGreater(len(pins), len(project["dependencies"]))
        self.assertIn("multipart==1.3.1", pins)

    def test_check_compares_the_pins_with_installed_versions(self) -> None:
        script = load()
        installed = {"a": "1.2.0", "b": "2"}
        for bounds, status in (({"a": "1.2", "b": "2.0"}, 0), ({"a": "1.1", "b": "2"}, 1)):
            with (
                patch.object(script, "lowest", lambda _, bounds=bounds: bounds),
                patch.object(script, "version", installed.__getitem__),
                patch("builtins.print") as said,
            ):
                self.assertEqual(script.main(["--check"]), status)
            self.assertIn("a 1.2.0, not 1.1" if status else "2 lowest versions", said.call_args.args[0])
