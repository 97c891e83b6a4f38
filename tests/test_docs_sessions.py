"""The shell sessions in the documentation print what the pages show."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.pages import PAGES, has_sessions, name_of
from tests.support.programs import Program
from tests.support.slow import slow
from tests.test_docs_commands import CommandCase

BLOCK = re.compile(
    r"(?ms)^(?:[^\n]*?[Ss]ave (?:this|it) as `([\w.]+)`[^\n]*\n\n)?```(python|console)\n(.*?)^```$"
)
COMMAND = re.compile(r"(?m)^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n)*)")
NOTICE = re.compile(r"(?m)^/bin/bash: line \d+: +\d+ Killed .*$")  # of a job in the background
SERVER = re.compile(r"(appserver|twistd) .*&$")
SESSIONS = [page for page in PAGES if has_sessions(page)]


def pattern(expected: str) -> str:
    """Return a pattern for expected output, in which C{...} stands for anything, and spaces for any space."""
    return re.escape(" ".join(expected.split())).replace(re.escape("..."), ".*?") + r"\Z"


@slow
class SessionTests(CommandCase):
    """
    The sessions of each page. Its programs are saved, a server is started with the program before a session,
    and each command of the session must print what the page shows. Commands share a shell.
    """

    bash: Program
    count = 0

    async def run_page(self, page: Path) -> None:
        self.text = page.read_text()
        self.environ["TQUEUE_URL"] = f"http://127.0.0.1:{self.port}"
        self.bash = self.start("/bin/bash", **self.environ)
        self.addCleanup(self.bash.kill_all)
        server = "twistd -n --pidfile= tqueuesrv &" if "queues" in page.parts else ""
        for name, language, text in BLOCK.findall(self.text):
            if language == "python" and (name or "url_patterns =" in text):
                (self.folder / (name or "app.py")).write_text(self.with_ports(text))
                server = server if name else "appserver app.py &"
            elif language == "console":
                await self.run_session(COMMAND.findall(text), server)
                server = ""

    async def run_session(self, steps: list[tuple[str, str]], server: str) -> None:
        if server and not SERVER.match(steps[0][0]):
            await self.serve_in_shell(server)
        for command, expected in steps:
            if SERVER.match(command):
                await self.serve_in_shell(command)
            else:
                shown = await self.shown(command)
                message = f"\n$ {command}\n{shown}\n\nexpected: {expected}"
                self.assertRegex(" ".join(shown.split()), pattern(expected), message)

    async def serve_in_shell(self, command: str) -> None:
        """Start a server, after the server before has ended."""
        words, redirected, rest = command.removesuffix("&").partition(">")
        file = self.folder / (rest.split()[0] if redirected else "server.output")
        file.unlink(missing_ok=True)
        await self.shown("kill $server; wait $server")
        await self.shown(f"{words} > {file.name} 2>&1 &")
        await self.shown("server=$!")
        while not file.exists() or "http://localhost:" not in file.read_text():
            await deferLater(reactor, 0.02)

    async def shown(self, command: str) -> str:
        """Run a command in the shell. Return what it prints, with the ports of the page."""
        self.count += 1
        end, seen = f"{self.bash.mark}-{self.count}", len(self.bash.output)
        self.bash.transport.write(f"{self.with_ports(command)}\necho {end}\n".encode())
        await self.bash.line(end)
        shown = NOTICE.sub("", self.bash.output[seen:].partition(end)[0]).strip()
        for port, real in self.ports.items():
            if port in self.text:
                shown = shown.replace(str(real), port)
        return shown


def _test_of(page: Path) -> Callable[[SessionTests], Coroutine[Any, Any, None]]:
    async def test(self: SessionTests) -> None:
        await self.run_page(page)

    return test


for each in SESSIONS:
    title = re.sub(r"\W", "_", name_of(each).removesuffix(".md"))
    setattr(SessionTests, f"test_{title}", _test_of(each))
