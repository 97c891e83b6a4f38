"""
Marks slow tests. C{trial tests} skips them; with SLOW_TESTS=1 in the environment they run too.

C{python -m tests.support.slow} prints their names, for trial's command line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, TypeVar
from unittest import TestSuite

from twisted.trial.runner import TestLoader

T = TypeVar("T")
REASON = "slow; SLOW_TESTS=1 trial tests runs it too"


def slow(test: T) -> T:
    """Mark a test, or a class of tests, as slow."""
    test.is_slow = True  # type: ignore[attr-defined]
    if not os.environ.get("SLOW_TESTS"):
        test.skip = REASON  # type: ignore[attr-defined]
    return test


def names(suite: Any) -> Iterator[str]:
    """The names of the slow tests in a suite."""
    for test in suite:
        if isinstance(test, TestSuite) or not hasattr(test, "_testMethodName"):
            yield from names(test)
        elif getattr(test, "is_slow", getattr(getattr(test, test._testMethodName), "is_slow", False)):
            yield test.id()


def main(modules: list[str]) -> None:
    loader = TestLoader()
    for module in modules or ["tests"]:
        print("\n".join(sorted(names(loader.loadByName(module, recurse=True)))))


if __name__ == "__main__":
    main(sys.argv[1:])
