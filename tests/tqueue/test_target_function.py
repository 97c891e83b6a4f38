"""The function that C{tqueue work} calls: found by its name, or refused with one line."""

from __future__ import annotations

import json
import os
import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.tqueue.target_function import function_named

MODULE = """
import functools

class Painter:
    def __call__(self, item, quickly=False): pass
    @staticmethod
    def paint(item): pass

class Sleeper:
    async def __call__(self, item): pass

painter, sleeper = Painter(), Sleeper()
def paint(item): pass
def two(a, b): pass
def none(): pass
def named(*, item): pass
def any_number(*items): pass
early = functools.partial(two, 1)
async def coroutine(item): pass
def generator(item): yield
async def both(item): yield
number = 5
"""
WRONG = {
    "no_module": (
        "import no_such_module",
        "no_module.py:1: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "no_syntax": ("x = (\n", "no_syntax.py:1: SyntaxError: "),
    "no_value": ("x = 1\n\nx / 0\n", "no_value.py:3: ZeroDivisionError: division by zero"),
    "no_end": ("raise SystemExit(3)\n", "no_end.py:1: SystemExit: 3"),
}


class TargetTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        for name, text in (("painters", MODULE), *((name, text) for name, (text, _) in WRONG.items())):
            with open(os.path.join(folder, f"{name}.py"), "w") as file:
                file.write(text)
        before = os.getcwd()
        os.chdir(folder)
        self.addCleanup(os.chdir, before)
        self.patch(sys, "path", ["", *sys.path])
        self.patch(sys, "modules", {**sys.modules})
        self.folder = folder

    def refused(self, target: str) -> str:
        """Return why a target is refused."""
        message = str(self.assertRaises(ValueError, function_named, target))
        self.assertEqual(message.count("\n"), 0)
        return message

    def test_whatever_accepts_an_item_is_found(self) -> None:
        for name in ("paint", "painter", "Painter.paint", "any_number", "early"):
            self.assertTrue(callable(function_named(f"painters:{name}")), name)
        self.assertIs(function_named("json:dumps"), json.dumps)
        self.assertIs(function_named("builtins:print"), print)

    def test_wrong_signature_is_refused_with_the_signature(self) -> None:
        for name, signature in (("two", "two(a, b)"), ("none", "none()"), ("named", "named(*, item)")):
            self.assertEqual(
                self.refused(f"painters:{name}"),
                f"painters:{name} must accept one argument, the item: it is {signature}",
            )

    def test_functions_that_would_not_run_are_refused(self) -> None:
        for name in ("coroutine", "generator", "both", "sleeper"):
            self.assertIn("must be a plain function", self.refused(f"painters:{name}"))
        self.assertEqual(self.refused("painters:number"), "painters:number cannot be called")

    def test_misspelt_names_get_the_closest_one(self) -> None:
        path = os.path.join(self.folder, "painters.py")
        self.assertEqual(self.refused("painters:pant"), f"{path} has no function pant; did you mean paint?")
        self.assertIn("did you mean painters.py?", self.refused("paintres:paint"))
        self.assertIn("named by its module: painters:paint", self.refused("./painters.py:paint"))
        for target in ("paintres.py:paint", "./paintres:paint"):
            self.assertIn("paintres.py; did you mean painters.py?", self.refused(target))
        for target in ("painters", "painters:", ":paint", ""):
            self.assertEqual(self.refused(target), f"the function must be MODULE:FUNCTION, not {target!r}")

    def test_advice_about_the_path_of_a_file_works(self) -> None:
        """The module that it names can be imported, here or in the folder that it names."""
        os.makedirs("sub/package/inner")
        os.mkdir("other")
        for name in (
            "sub/odd",
            "sub/package/__init__",
            "sub/package/inner/__init__",
            "sub/package/inner/deep",
        ):
            with open(f"{name}.py", "w") as file:
                file.write("def paint(item): pass\n")
        top, sub = self.folder, os.path.join(self.folder, "sub")
        for here, path, module, folder in (
            (top, f"{top}/painters.py", "painters", ""),
            (top, "./painters", "painters", ""),
            (top, "sub/odd.py", "sub.odd", ""),
            (top, "other/../sub/odd", "sub.odd", ""),
            (sub, "package/inner/deep.py", "package.inner.deep", ""),
            (f"{sub}/package/inner", "../../odd.py", "odd", sub),
            (f"{top}/other", "../sub/package/inner/deep.py", "package.inner.deep", sub),
            (f"{top}/other", f"{top}/painters.py", "painters", top),
        ):
            os.chdir(here)
            where = f"; start it in {folder}, or add this folder to PYTHONPATH" if folder else ""
            message = f"the function must be named by its module: {module}:paint, not {path}:paint{where}"
            self.assertEqual(self.refused(f"{path}:paint"), message)
            os.chdir(folder or here)
            with patch.dict(sys.modules):
                self.assertTrue(callable(function_named(f"{module}:paint")))

    def test_import_errors_have_the_file_and_the_line(self) -> None:
        for name, (_, expected) in WRONG.items():
            self.assertIn(f"cannot import {name}: {self.folder}/{expected}", self.refused(f"{name}:f"))
