"""Type checkers see every public name, and report misspelt names and options."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_type_hints
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

import twisted_appserver
from tests.support.programs import ROOT
from tests.support.slow import slow
from twisted_appserver.option_values import OptionValues, OtherOptionValues
from twisted_appserver.serving.run import run_server
from twisted_appserver.settings import OPTION_TYPES, Settings, settings_from_keywords

PATHS = ("app", "token_file", "access_log")  # may be os.PathLike too
NODE = ROOT / "tests" / "support" / "node" / "node_modules" / ".bin" / "pyright"
PYRIGHT = str(NODE) if NODE.exists() else shutil.which("pyright")
PROGRAM = """\
import twisted_appserver as appserver
from twisted_appserver import Route, make_service, run_server
from twisted_appserver import Ruote  # wrong
from twisted_appserver.testing import Client
from twisted_appserver.tqueue import Worker
from twisted_appserver.tqueue import Wroker  # wrong
from twisted_appserver.tqueue.client import PriorityQueue, Queue
from twisted_appserver.tqueue.client.async_queue import AsyncQueue


def double(n: int) -> dict[str, int]:
    return {"double": 2 * n}


url_patterns = (Route(r"/double/(?P<n>)/", double, tool=True),)
version: str = appserver.__version__
service = make_service(url_patterns, port=0, threads=2)
make_service(url_patterns, port="0")  # wrong
make_service(url_patterns, thread=2)  # wrong
Client(url_patterns, display_tracebacks=True)
Client(url_patterns, tracebacks=True)  # wrong
run_server(url_patterns, port=8081, server_type=appserver.FORKED_SERVER, workers=2)
run_server(url_patterns, prot=8081)  # wrong
run_server(url_patterns, max_body="1 MB")  # wrong
Route(r"/double/(?P<n>)/", double, methdos=("GET",))  # wrong

numbers: Queue[int] = Queue(name="numbers")
numbers.put(1, timeout=2)
numbers.put("one")  # wrong
numbers.put(1, priorty=2)  # wrong
total: int = numbers.get() + 1
name: str = numbers.get()  # wrong
words = PriorityQueue[str]()
for word in words.tasks():
    word.upper()
with numbers.task() as number:
    number.bit_length()
anything = Queue()
anything.put("one")
anything.put(1)
texts: AsyncQueue[str] = AsyncQueue("http://localhost:8082", "texts")
texts.put("one")
texts.put(1)  # wrong
"""
WRONG = [number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# wrong")]


class OptionTests(SynchronousTestCase):
    def test_option_values_have_the_names_and_types_of_the_settings(self) -> None:
        hints = get_type_hints(OptionValues)
        self.assertEqual(set(hints), set(OPTION_TYPES))
        for name, kind in OPTION_TYPES.items():
            shown = str(hints[name]).replace("os.PathLike[str] | ", "")
            self.assertIn(str(kind).replace("<class 'str'>", "str"), (shown, str(hints[name]), "str"), name)

    def test_run_server_has_its_own_parameters_and_all_other_options(self) -> None:
        own = {*run_server.__annotations__} & {*OPTION_TYPES}
        self.assertEqual(own, {"port", "server_type"})
        self.assertEqual({*get_type_hints(OtherOptionValues)}, {*OPTION_TYPES} - own)

    def test_paths_may_be_path_objects(self) -> None:
        for name in PATHS:
            settings = settings_from_keywords(**{name: Path("x")})
            self.assertEqual(getattr(settings, name), "x")
            self.assertIn("PathLike", str(get_type_hints(OptionValues)[name]))
        self.assertEqual(Settings(), settings_from_keywords())


class VersionTests(SynchronousTestCase):
    def test_package_has_its_version(self) -> None:
        self.assertRegex(twisted_appserver.__version__, r"^\d+\.\d+\.\d+")
        with self.assertRaises(AttributeError):
            getattr(twisted_appserver, "Ruote")  # noqa: B009


@slow
class CheckerTests(SynchronousTestCase):
    """Exactly the wrong lines of a program are reported."""

    def check(self, *command: str) -> None:
        path = Path(self.mktemp()).absolute()
        path.mkdir()
        (path / "program.py").write_text(PROGRAM)
        done = subprocess.run(
            [*command, "program.py"], cwd=path, capture_output=True, text=True, timeout=300, check=False
        )
        found = re.findall(r"program\.py:(\d+)(?::\d+)?(?: -|:) error", done.stdout)
        self.assertEqual(sorted({*map(int, found)}), WRONG, done.stdout + done.stderr)

    @skipUnless(find_spec("mypy"), "mypy is not installed")
    def test_mypy(self) -> None:
        self.check(sys.executable, "-m", "mypy", "--strict", "--no-incremental")

    @skipUnless(PYRIGHT, "pyright is not installed (npm)")
    def test_pyright(self) -> None:
        self.check(str(PYRIGHT), "--pythonpath", sys.executable)
