"""Generates docs/troubleshooting.md by making each mistake: C{python -m tests.mistakes.page}."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from time import monotonic, sleep

from tests.mistakes.client_table import CLIENT_GROUPS
from tests.mistakes.table import GROUPS, SHOP, TOKEN, Mistake
from tests.support.programs import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
HEAD = """\
# Troubleshooting

What is printed for common mistakes. `python -m tests.mistakes.page` makes them and generates this
page. The commands need an activated environment: `source .venv/bin/activate`. Times and request ids are left
out. Lines that begin with `log:` are from the server's log.
"""
RUNS, STARTS = 10.0, 30.0  # seconds in which a command should end, and a server start
QUIET = 0.5  # seconds without a line in the log, after which a server has started
LOG_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
REQUEST_ID = re.compile(r"\b[0-9a-f]{8}-\d+\b")
NOT_SHOWN = re.compile(r"^(date:|server:|x-request-id:|connection:|content-length:|[\s~^]+$)", re.I)
OTHER_FRAME = re.compile(rf'^ *File "{re.escape(sys.base_prefix)}/.*\n.*\n', re.M)  # of Python's own modules
THREAD = re.compile(r"(thread id|PoolThread-twisted.internet.reactor-)( ?)\d+")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Place:
    """
    A folder in which commands run, with a port of its own that stands for 8080.

    @ivar log: the file to which a server writes.
    """

    def __init__(self, folder: str, files: dict[str, str]) -> None:
        self.folder, self.port = Path(folder), _free_port()
        self.log = self.folder / "server.log"
        self.save(files)

    def save(self, files: dict[str, str]) -> None:
        """Write files, in which the port stands for 8080 too."""
        for name, text in files.items():
            (self.folder / name).write_text(self._with_port(text), "utf-8")
            (self.folder / name).chmod(0o600)

    def _with_port(self, text: str) -> str:
        return re.sub(r"\b8080\b", str(self.port), text)

    def _command(self, text: str) -> list[str]:
        return ["bash", "-c", self._with_port(text)]

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
        changed = {"PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
        url = f"http://localhost:{self.port}"
        return {**os.environ, **changed, "APPSERVER_PORT": str(self.port), "TQUEUE_URL": url}

    def run(self, command: str) -> str:
        """Run a command, and return its output as the page shows it."""
        environment = self._environment()
        if "APPSERVER_PORT" in command:
            del environment["APPSERVER_PORT"]
        with tempfile.TemporaryFile() as output:
            program = subprocess.Popen(
                self._command(command),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                program.wait(RUNS)
                ending = ""
            except subprocess.TimeoutExpired:
                ending = "(It runs on.)"
                os.killpg(program.pid, signal.SIGKILL)
                program.wait()
            output.seek(0)
            return self.shown(output.read().decode("utf-8", "replace") + ending)

    def shown(self, text: str) -> str:
        """Remove what differs from run to run."""
        text = text.replace(f"{self.folder}/", "").replace(str(self.folder), ".").replace("\r", "")
        text = OTHER_FRAME.sub("", re.sub(rf"\b{self.port}\b", "8080", text))
        text = THREAD.sub(r"\1\g<2>1", text)
        lines = [REQUEST_ID.sub("...", line).rstrip() for line in text.splitlines()]
        return "\n".join(line for line in lines if line and not NOT_SHOWN.match(line))

    @contextmanager
    def server(self, command: str) -> Iterator[None]:
        """Run a server meanwhile."""
        words = self._command(f"exec {command}")
        with self.log.open("wb") as log:
            program = subprocess.Popen(
                words, cwd=self.folder, env=self._environment(), stdout=log, stderr=log
            )
        try:
            limit = monotonic() + STARTS
            while f"localhost:{self.port}/" not in self.log.read_text() and monotonic() < limit:
                sleep(0.05)
            size = 0
            while size != (size := self.log.stat().st_size):  # notes follow the address
                sleep(QUIET)
            yield
        finally:
            program.terminate()
            program.wait(STARTS)

    def logged(self, since: int) -> list[str]:
        """Return what a server has logged after a position in its log, as the page shows it."""
        text = self.log.read_bytes()[since:].decode("utf-8", "replace")
        lines = (LOG_TIME.sub("", line) for line in self.shown(text).splitlines())
        return [f"log: {line}" for line in lines]


def outcomes(mistakes: Sequence[Mistake]) -> Iterator[str]:
    """Make mistakes, and yield what the product says. Those in a row with the same server share one."""
    for command, group in groupby(mistakes, lambda mistake: mistake.server):
        if not command:
            with ThreadPoolExecutor(2) as pool:
                yield from pool.map(_outcome, group)
            continue
        with tempfile.TemporaryDirectory(prefix="mistakes-") as folder:
            place = Place(os.path.realpath(folder), {"shop.py": SHOP, **TOKEN})
            with place.server(command):
                for mistake in group:
                    place.save(mistake.files)
                    before = place.log.stat().st_size
                    output = place.run(mistake.command)
                    yield "\n".join([output, *place.logged(before)])


def _outcome(mistake: Mistake) -> str:
    with tempfile.TemporaryDirectory(prefix="mistake-") as folder:
        return Place(os.path.realpath(folder), mistake.files).run(mistake.command)


def _section(mistake: Mistake, output: str) -> str:
    """Return the section of a mistake as Markdown."""
    files = "".join(
        f"```python\n# {name}\n{text.rstrip()}\n```\n\n"
        for name, text in mistake.files.items()
        if name.endswith(".py") and text != SHOP
    )
    return f"\n### {mistake.title}\n\n{files}```console\n$ {mistake.command}\n{output}\n```\n"


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    for group, mistakes in {**GROUPS, **CLIENT_GROUPS}.items():
        parts.append(f"\n## {group}\n")
        if server := mistakes[0].server:
            file = " Its file `shop.py` is at the end of this page." if "shop.py" in server else ""
            parts.append(f"\nThe server is `{server}`.{file}\n")
        parts.extend(map(_section, mistakes, outcomes(mistakes)))
    parts.append(f"\n## shop.py\n\n```python\n{SHOP}```\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
