"""
The tests, laid out like the package: C{trial tests}.

  - support: applications that tests serve, servers that they start, and tables of cases
  - works_with: what people use in functions, tried in every executor
  - faults: servers under load while things break, and mutations of the source
"""

from __future__ import annotations

import os


def keep_bytecode() -> None:
    """
    Let the programs that tests start keep the bytecode of all modules in a temporary folder.

    With PYTHONDONTWRITEBYTECODE each of these hundreds of programs would compile the whole package.
    """
    import atexit  # here, because workers import this package too
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="bytecode-")
    pid = os.getpid()
    atexit.register(lambda: os.getpid() == pid and shutil.rmtree(folder, ignore_errors=True))
    os.environ["PYTHONPYCACHEPREFIX"] = folder
    del os.environ["PYTHONDONTWRITEBYTECODE"]  # also from the processes of trial -jN


if os.environ.get("PYTHONDONTWRITEBYTECODE"):
    keep_bytecode()
