"""Tests of the modules as such: what importing them does, and in which direction they depend."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

import twisted_appserver

FOLDER = os.path.dirname(os.path.abspath(twisted_appserver.__file__))
PACKAGE = "twisted_appserver"
OPTIONAL = ("dask", "distributed", "psycopg", "watchfiles", "prometheus_client", "pydantic", "re2")
OPTIONAL += ("annotated_types", "swagger_ui")
# A module may import those that stand further up, and those beside it as long as there is no circle.
LEVELS = (
    "shadowing errors readiness malformed variables conversions hub private_files children statuses headers"
    " remedies",
    "calls forked binding options matching regex_graph regex_safety parts encoding events",
    "heads results patterns targets application passwords origins proxies",
    "routing guard access listening",
    "executors deadlines keepalive overload hints",
    "dispatch",
    "half_close resource counted stock_channel channel job jobs admin client example accesslog logs",
    "site",
    "service",
    "ending daemon watching program testing",
    "run tap tqueue __main__",
)
LEVEL = {name: number for number, line in enumerate(LEVELS) for name in line.split()}


def modules() -> dict[str, str]:
    """The path of every module, by its dotted name below the package; the package itself is ''."""
    found = {}
    for folder, _, files in os.walk(FOLDER):
        for file in files:
            if file.endswith(".py"):
                path = os.path.join(folder, file)
                name = os.path.relpath(path, FOLDER)[:-3].replace(os.sep, ".")
                found[name.removesuffix("__init__").removesuffix(".")] = path
    return found


MODULES = modules()


def tree(name: str) -> ast.Module:
    with open(MODULES[name], encoding="utf-8") as source:
        return ast.parse(source.read())


def imports(name: str) -> Iterator[str]:
    """What a module imports, wherever in it: dotted names, those of names in modules included."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # relative to the package that it is in, or one further up
                place = [PACKAGE, *name.split(".")][: None if is_package(name) else -1]
                module = ".".join(filter(None, (*place[: len(place) + 1 - node.level], module)))
            yield from (f"{module}.{each.name}" for each in node.names)


def is_package(name: str) -> bool:
    return MODULES[name].endswith("__init__.py")


def inner(name: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for target in imports(name):
        if target.startswith(PACKAGE + "."):
            below = target.removeprefix(PACKAGE + ".")
            found.add(below if below in MODULES else below.rpartition(".")[0])
    return found


class DirectionTests(SynchronousTestCase):
    def test_every_module_has_a_place(self) -> None:
        """The order names every module."""
        self.assertEqual({name.partition(".")[0] for name in MODULES} - {""} - LEVEL.keys(), set())

    def test_downwards(self) -> None:
        """No module imports one that stands above it, or the package, whose __init__ imports them all."""
        for name in filter(None, MODULES):
            top = name.partition(".")[0]
            if top == "tqueue":  # an application: it may use the public names
                continue
            for target in inner(name):
                self.assertTrue(target, f"{name} imports the package itself")
                self.assertLessEqual(LEVEL[target.partition(".")[0]], LEVEL[top], f"{name} imports {target}")

    def test_no_circle(self) -> None:
        """No chain of imports leads back to where it began."""
        graph = {name: inner(name) for name in MODULES if name}
        done: set[str] = set()

        def visit(name: str, chain: tuple[str, ...]) -> None:
            self.assertNotIn(name, chain, " -> ".join((*chain, name)))
            if name not in done:
                for target in graph.get(name, ()):
                    visit(target, (*chain, name))
                done.add(name)

        for name in graph:
            visit(name, ())

    def test_reactor(self) -> None:
        """The global reactor is named where a program starts, and nowhere else, and not at module level."""
        naming = {name for name in MODULES if "twisted.internet.reactor" in imports(name)}
        self.assertLessEqual(
            {name for name in naming if not name.startswith("tqueue.")}, {"run", "tap", "service"}
        )
        for name in naming:
            top = ast.Module(
                [node for node in tree(name).body if isinstance(node, ast.ImportFrom)], type_ignores=[]
            )
            self.assertNotIn("reactor", [each.name for node in top.body for each in node.names])  # type: ignore[attr-defined]

    def test_docstrings(self) -> None:
        """Every module says what it is."""
        self.assertEqual([name for name in MODULES if not ast.get_docstring(tree(name))], [])


class ImportTests(SynchronousTestCase):
    def check(self, program: str) -> None:
        """A program, after which no module of those optional is imported, and no other thread runs."""
        program = (
            f"import sys, threading, {program}\n"
            f"found = [name for name in ('twisted.internet.reactor', *{OPTIONAL}) if name in sys.modules]\n"
            "print(found, threading.active_count())"
        )
        search = os.pathsep.join(filter(None, (os.path.dirname(FOLDER), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": search},
        )  # fmt: skip
        self.assertEqual((done.stdout, done.stderr), ("[] 1\n", ""))

    def test_light(self) -> None:
        """The public names install no reactor, import no optional dependency and start no thread."""
        self.check("twisted_appserver; from twisted_appserver import *")

    def test_worker(self) -> None:
        """A worker, of which many may have to start at once, imports no Twisted."""
        self.check(
            "twisted_appserver.executors.processes.worker_main; from examples import article\n"
            "assert not [name for name in sys.modules if name.startswith('twisted.')]"
        )

    def test_public_names(self) -> None:
        """Every name of __all__ is there, sorted as the linter wants it, and the design's are among them."""
        promised = """run_server make_service AppResource Route include Router Call Reply HTTPError IExecutor
            InlineExecutor ThreadExecutor ProcessExecutor THREADED_SERVER FORKED_SERVER CLUSTER_SERVER"""
        self.assertLessEqual(set(promised.split()), set(twisted_appserver.__all__))
        for name in twisted_appserver.__all__:
            getattr(twisted_appserver, name)
