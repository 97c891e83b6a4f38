"""Files of tests."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase

IN_MEMORY = "/dev/shm"  # a file system in memory, on Linux


def sqlite_store(test: SynchronousTestCase) -> str:
    """
    Return the URL of a SQLite file that does not exist yet. It is deleted after the test.

    The file is in memory if possible: on a busy disk, a commit may take longer than the leases of tests.
    """
    folder = tempfile.mkdtemp(prefix="sqlite-", dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None)
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return f"sqlite:{folder}/store.db"
