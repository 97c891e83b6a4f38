"""Runs the tests of C{queue} of this interpreter's CPython against our client.

Usage: python cpython_queue_tests.py FOLDER-OF-THE-CLIENT URL [WITHOUT...]

Tests whose names contain one of the last words are left out. Only the standard library is needed.
"""

from __future__ import annotations

import sys
import types
import unittest
from typing import Any


def main(folder: str, url: str, *without: str) -> int:
    package: Any = types.ModuleType("tqueue")
    package.__path__ = [folder]
    sys.modules["tqueue"] = package
    import test.test_queue as standard
    from tqueue import client  # type: ignore[import-not-found]

    ours: Any = types.SimpleNamespace(Empty=client.Empty, Full=client.Full, ShutDown=client.ShutDown)
    for kind in (client.Queue, client.LifoQueue, client.PriorityQueue):

        def init(self: Any, maxsize: int = 0, kind: Any = kind) -> None:
            kind.__init__(self, maxsize, url)

        setattr(ours, kind.__name__, type(kind.__name__, (kind,), {"__init__": init}))
    suite = unittest.TestSuite()
    for name in ("Queue", "LifoQueue", "PriorityQueue"):
        for variant in ("Py", "C"):
            case = getattr(standard, f"{variant}{name}Test")
            case.queue = ours
            case.__unittest_skip__ = False
            for test in unittest.defaultTestLoader.getTestCaseNames(case):
                if not any(word in f"{case.__name__}.{test}" for word in without):
                    suite.addTest(case(test))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    return 0 if result.wasSuccessful() and result.testsRun and not result.skipped else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
