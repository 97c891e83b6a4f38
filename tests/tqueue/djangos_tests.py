"""
Runs Django's own tests of its task backends with the backend for TQueueSrv::

    pip download --no-deps --no-binary Django Django
    python -m tests.tqueue.djangos_tests Django-6.1.3.tar.gz

The tests are in Django's source distribution only. They are copied, and use the backends of
L{djangos_backends} instead of Django's. The status is 1 if other tests fail than expected.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests.support.forks import ROOT
from tests.support.queue_server import Server

NAMES = {
    "django.tasks.backends.immediate.ImmediateBackend": "tests.tqueue.djangos_backends.PerformingBackend",
    "django.tasks.backends.dummy.DummyBackend": "tests.tqueue.djangos_backends.WaitingBackend",
    "django.tasks.backends.immediate import ImmediateBackend":
        "tests.tqueue.djangos_backends import PerformingBackend as ImmediateBackend",
    "django.tasks.backends.dummy import DummyBackend":
        "tests.tqueue.djangos_backends import WaitingBackend as DummyBackend",
}  # fmt: skip
SETTINGS = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
RUN = "import sys; from tests.tqueue.djangos_backends import run_tests; sys.exit(run_tests())"


def copy_tests(sdist: str, folder: Path) -> None:
    """Extract the tests of tasks, and replace the names of the backends."""
    with tarfile.open(sdist) as archive:
        members = [each for each in archive.getmembers() if "/tests/tasks/" in each.name and each.isfile()]
        archive.extractall(folder, members, filter="data")
    (found,) = folder.glob("*/tests/tasks")
    found.rename(folder / "tasks")
    for path in (folder / "tasks").glob("*.py"):
        text = path.read_text()
        for theirs, ours in NAMES.items():
            text = text.replace(theirs, ours)
        path.write_text(text)
    (folder / "djangos_settings.py").write_text(SETTINGS)


def main(arguments: list[str]) -> int:
    server = Server().start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy_tests(arguments[0], Path(folder))
            environ: dict[str, Any] = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "djangos_settings",
                "PYTHONPATH": os.pathsep.join((folder, ROOT)),
                "TQUEUE_URL": server.url,
            }
            return subprocess.run([sys.executable, "-c", RUN], env=environ, timeout=300).returncode
    finally:
        server.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
