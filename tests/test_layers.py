"""Tests of imports: their direction, and their effects."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

import twisted_appserver

FOLDER = os.path.dirname(os.path.abspath(twisted_appserver.__file__))
PACKAGE = "twisted_appserver"
OPTIONAL = ("dask", "distributed", "psycopg", "watchfiles", "prometheus_client", "pydantic", "re2")
OPTIONAL += ("annotated_types", "swagger_ui", "tqdm")
LISTED = re.compile(r"^  - (\w+): ", re.M)  # a line for each module in a package's docstring
ANYWHERE = ("__main__",)  # modules that need no place in the list


def modules() -> dict[str, str]:
    """Return the path of every module by its dotted name below the package; the package itself is ''."""
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
    """Yield what a module imports at any level: the dotted names of modules and of names in them."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # relative to its package, or to a package around it
                place = [PACKAGE, *name.split(".")][: None if is_package(name) else -1]
                module = ".".join(filter(None, (*place[: len(place) + 1 - node.level], module)))
            yield from (f"{module}.{each.name}" for each in node.names)


def is_package(name: str) -> bool:
    return MODULES[name].endswith("__init__.py")


def inner(name: str) -> set[str]:
    """Return the modules of this package that a module imports."""
    found = set()
    for target in imports(name):
        if target.startswith(PACKAGE + "."):
            below = target.removeprefix(PACKAGE + ".")
            found.add(below if below in MODULES else below.rpartition(".")[0])
    return found


def listed(package: str) -> list[str]:
    """Return the modules and folders of a package in the order of its docstring."""
    return LISTED.findall(ast.get_docstring(tree(package)) or "")


PACKAGES = sorted(name for name in MODULES if is_package(name))


class LayerTests(SynchronousTestCase):
    def test_every_package_lists_its_modules(self) -> None:
        """The docstring of each package has one line for each module and folder in it."""
        for package in PACKAGES:
            inside = {
                name.rpartition(".")[2] for name in MODULES if name and name.rpartition(".")[0] == package
            }
            self.assertEqual(sorted(listed(package)), sorted(inside - {*ANYWHERE}), package)

    def test_imports_point_up_the_list(self) -> None:
        """A module imports only what its package lists before it, and likewise for each package around it."""
        wrong = []
        for name in filter(None, MODULES):
            for target in inner(name) - {name}:
                if not target and name.startswith("tqueue."):  # an application: it may use the public names
                    continue
                if not target or not self.in_order(name, target):
                    wrong.append(f"{name} imports {target or PACKAGE}")
        self.assertEqual(wrong, [])

    def in_order(self, name: str, target: str) -> bool:
        """Return whether a module may import another, by the first parts in which their names differ."""
        ours, theirs, package = name.split("."), target.split("."), ""
        while ours and theirs and ours[0] == theirs[0]:
            package = f"{package}.{ours[0]}".strip(".")
            del ours[0], theirs[0]
        if not ours or ours[0] in ANYWHERE:  # a package re-exports names of its modules
            return True
        order = listed(package)
        return bool(theirs) and order.index(theirs[0]) < order.index(ours[0])

    def test_core_imports_no_twisted(self) -> None:
        """Calls and functions need no reactor, so a worker process never imports Twisted."""
        for name in MODULES:
            if name.split(".")[0] in ("core", "errors", "settings"):
                found = [each for each in imports(name) if each.startswith(("twisted.", "zope."))]
                self.assertEqual(found, [], name)

    def test_queue_clients_import_the_standard_library_only(self) -> None:
        """The folder of the clients can be copied into any program, without async_queue."""
        for name in MODULES:
            if name.startswith("tqueue.client") and name != "tqueue.client.async_queue":
                for target in imports(name):
                    top = target.partition(".")[0]
                    if target == "typing_extensions.TypeVar" and name == "tqueue.client.items":
                        continue  # read by type checkers only
                    ours = target.startswith(f"{PACKAGE}.tqueue.client.")
                    self.assertTrue(ours or top in sys.stdlib_module_names, f"{name} imports {target}")

    def test_no_chain_of_imports_is_a_circle(self) -> None:
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

    def test_only_entry_points_use_the_global_reactor(self) -> None:
        """And not at module level."""
        naming = {name for name in MODULES if "twisted.internet.reactor" in imports(name)}
        self.assertLessEqual(
            {name for name in naming if not name.startswith("tqueue.")},
            {"serving.run", "serving.tap", "serving.service", "serving.servers.server_main"},
        )
        for name in naming:
            top = ast.Module(
                [node for node in tree(name).body if isinstance(node, ast.ImportFrom)], type_ignores=[]
            )
            self.assertNotIn("reactor", [each.name for node in top.body for each in node.names])  # type: ignore[attr-defined]

    def test_every_module_has_a_docstring(self) -> None:
        self.assertEqual([name for name in MODULES if not ast.get_docstring(tree(name))], [])


class ImportTests(SynchronousTestCase):
    def check(self, program: str) -> None:
        """Run a program, and check that it imports no optional module and starts no thread."""
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

    def test_importing_the_package_installs_no_reactor_and_starts_no_thread(self) -> None:
        """It imports no optional dependency either."""
        self.check("twisted_appserver; from twisted_appserver import *")

    def test_worker_process_imports_no_twisted(self) -> None:
        """Many workers may have to start at once."""
        self.check(
            "twisted_appserver.executors.processes.worker_main; from examples import article\n"
            "assert not [name for name in sys.modules if name.startswith('twisted.')]\n"
            "assert not {'importlib.metadata', 'twisted_appserver.command_line'} & {*sys.modules}"
        )

    def test_every_public_name_exists(self) -> None:
        """The list is sorted as the linter requires, and has the names of the design."""
        promised = """run_server make_service AppResource Route include Router Call Reply HTTPError IExecutor
            InlineExecutor ThreadExecutor ProcessExecutor THREADED_SERVER FORKED_SERVER CLUSTER_SERVER"""
        self.assertLessEqual(set(promised.split()), set(twisted_appserver.__all__))
        for name in twisted_appserver.__all__:
            getattr(twisted_appserver, name)
