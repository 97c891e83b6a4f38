"""Tests of the source text of the package: sizes, names and other rules that keep it easy to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.test_layers import MODULES, tree

MODULE_LINES = 400
CLASS_LINES = 300
FUNCTION_LINES = 40

# Definitions that are still too large, with their numbers of lines. They may only shrink.
LARGE_MODULES: dict[str, int] = {}
LARGE_CLASSES: dict[str, int] = {}
LARGE_FUNCTIONS: dict[str, int] = {}
# Names that several classes still share, with the number of these classes.
SHARED_NAMES = {"Options": 2}  # remains: twistd requires this name in the module of each plugin
# Modules that still change objects that are declared frozen.
FORCING: set[str] = set()

Function = ast.FunctionDef | ast.AsyncFunctionDef


def definitions(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Yield every definition of these kinds in the package, with its module and its qualified name."""

    def inside(node: ast.AST, place: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            name = getattr(child, "name", None)
            named = isinstance(child, ast.ClassDef | Function) and isinstance(name, str)
            below = f"{place}.{name}" if named else place
            if isinstance(child, kinds):
                yield below, child
            yield from inside(child, below)

    for module in sorted(MODULES):
        yield from inside(tree(module), module)


def lines(node: ast.AST) -> int:
    """Return the number of lines of a definition without its decorators."""
    return node.end_lineno - node.lineno + 1  # type: ignore[attr-defined,no-any-return]


class SizeTests(SynchronousTestCase):
    def check(self, sizes: dict[str, int], limit: int, known: dict[str, int]) -> None:
        """Check that only the known exceptions exceed the limit, and that they have not grown."""
        large = {name: size for name, size in sizes.items() if size > limit}
        self.assertEqual(
            {name: size for name, size in large.items() if size > known.get(name, limit)},
            {},
            f"split these, or make them shorter: the limit is {limit} lines",
        )
        self.assertEqual(
            sorted(known.keys() - large.keys()), [], "these fit now: remove them from the table above"
        )

    def test_modules_have_at_most_400_lines(self) -> None:
        sizes = {}
        for name, path in MODULES.items():
            with open(path, encoding="utf-8") as source:
                sizes[name] = len(source.readlines())
        self.check(sizes, MODULE_LINES, LARGE_MODULES)

    def test_classes_have_at_most_300_lines(self) -> None:
        self.check(dict(self.sizes(ast.ClassDef)), CLASS_LINES, LARGE_CLASSES)

    def test_functions_have_at_most_40_lines(self) -> None:
        self.check(dict(self.sizes(ast.FunctionDef, ast.AsyncFunctionDef)), FUNCTION_LINES, LARGE_FUNCTIONS)

    def sizes(self, *kinds: type[ast.AST]) -> Iterator[tuple[str, int]]:
        for name, node in definitions(*kinds):
            yield name, lines(node)


class NameTests(SynchronousTestCase):
    def test_no_two_classes_share_a_name(self) -> None:
        """A search for a class finds one class only. An underscore in front makes no other name."""
        found: dict[str, list[str]] = {}
        for name, _ in definitions(ast.ClassDef):
            found.setdefault(name.rpartition(".")[2].lstrip("_"), []).append(name)
        shared = {name: places for name, places in found.items() if len(places) > 1}
        wrong = {name: places for name, places in shared.items() if len(places) > SHARED_NAMES.get(name, 1)}
        self.assertEqual(wrong, {}, "rename all but one of these")
        self.assertEqual(sorted(SHARED_NAMES.keys() - shared.keys()), [], "remove these from the table above")

    def test_what_is_declared_frozen_is_not_changed(self) -> None:
        forcing = {
            module
            for module in MODULES
            for node in ast.walk(tree(module))
            if "force_setattr" in (getattr(node, "id", ""), getattr(node, "attr", ""))
        }
        self.assertEqual(sorted(forcing), sorted(FORCING))
