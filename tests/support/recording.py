"""
Records the terminal of the README: C{python -m tests.support.recording} writes docs/images/terminal.svg.

It saves a small application, starts a server and calls it with curl, each in a pseudo-terminal, and draws
what they print as an animated SVG. Ports, times, ids and folders are replaced, so that each run draws the
same.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping
from html import escape
from select import select
from time import monotonic

from tests.support.programs import ROOT
from tests.support.terminal import COLUMNS, ROWS, run_in_terminal

PICTURE = ROOT / "docs" / "images" / "terminal.svg"
APPLICATION = """\
def double(n: int):
    return {"double": 2 * n}

url_patterns = ((r"/double/(?P<n>)/", double),)
"""
SERVER = "appserver hello.py &"
CALLS = (
    "curl -s localhost:8080/double/4/",
    "curl -s localhost:8080/double/four/",
    "curl -s -H 'Prefer: respond-async' localhost:8080/double/5/",
)
SECONDS = 20.0  # in which a server starts, or logs a request
REPLACED = (
    (r"\d\d:\d\d:\d\d", "12:00:00"),
    (r"\b[\d.]+ ms\b", "0.4 ms"),
    (r"(?<![0-9a-f])[0-9a-f]{8}-(\d+)\b", r"5f0c3a81-\1"),
    (r"\b[0-9a-f]{32}\b", "c080a2a3204d112235ea4294a35f1fd6"),
)
WIDTH = 84  # columns of the picture
CHARACTER, LINE, SIZE, MARGIN = 8.4, 20, 14, 16  # pixels
TYPING, READING = 0.04, 1.1  # seconds for a character, and after the output of a command
STYLE = """
:root { --back: #fbfbfa; --text: #24292f; --dim: #6e7781; --prompt: #1a7f37; --edge: #d0d7de }
@media (prefers-color-scheme: dark) {
  :root { --back: #161b22; --text: #e6edf3; --dim: #8b949e; --prompt: #3fb950; --edge: #30363d }
}
text { font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--text) }
.back { fill: var(--back); stroke: var(--edge) }
.dim { fill: var(--dim) }
.prompt { fill: var(--prompt) }
.line { animation: show 1ms both }
.cover { fill: var(--back); transform: scaleX(0); transform-box: fill-box; transform-origin: right }
.typed { animation: type both }
@keyframes show { from { visibility: hidden } }
@keyframes type { from { transform: scaleX(1) } }
@media (prefers-reduced-motion: reduce) { .line, .typed { animation: none } }
"""


class Server:
    """
    A server in a pseudo-terminal.

    @ivar port: its port, which stands for 8080.
    """

    def __init__(self, folder: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        command = [sys.executable, "-m", "twisted_appserver", "hello.py", "--port", str(self.port)]
        self._process = subprocess.Popen(
            command, cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def read_until(self, end: str) -> str:
        """Return what the server prints up to a line that contains a text."""
        text, deadline = "", monotonic() + SECONDS
        while not (end in text and text.endswith("\n")):
            if not select([self._ours], [], [], max(0.0, deadline - monotonic()))[0]:
                raise RuntimeError(f"the server did not print {end!r}: {text}")
            text += os.read(self._ours, 65536).decode()
        return text

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(SECONDS)
        os.close(self._ours)


def _environment() -> Mapping[str, str]:
    """Return the environment without settings that change what the programs print."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("APPSERVER_", "NO_COLOR"))
    }
    return {**kept, "TERM": "xterm", "PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS)}


def record() -> list[tuple[str, str]]:
    """Run the commands. Return each with what it and the server print."""
    with tempfile.TemporaryDirectory() as made:
        folder = os.path.realpath(made)
        with open(os.path.join(folder, "hello.py"), "w") as file:
            file.write(APPLICATION)
        scenes = [("cat hello.py", run_in_terminal(["cat", "hello.py"], folder, {})[1])]
        server = Server(folder)
        try:
            scenes.append((SERVER, server.read_until("Ctrl-C")))
            for number, command in enumerate(CALLS, 1):
                call = ["bash", "-c", command.replace("8080", str(server.port))]
                shown = run_in_terminal(call, folder, _environment())[1]
                logged = server.read_until(f"-{number}")
                scenes.append((command, f"{shown}\n{logged}"))
        finally:
            server.stop()
    return [(command, _replace(text, folder, server.port)) for command, text in scenes]


def _replace(text: str, folder: str, port: int) -> str:
    text = text.replace(folder, "/srv").replace(str(port), "8080")
    for pattern, replacement in REPLACED:
        text = re.sub(pattern, replacement, text)
    return text.replace("\r\n", "\n")


def _rows(text: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the rows that a terminal shows, each as parts with their class: empty or C{dim}."""
    for line in text.rstrip("\n").split("\n"):
        row: list[tuple[str, str]] = []
        used, kind = 0, ""
        for part in re.split(r"(\x1b\[\d*m)", line):
            if part.startswith("\x1b"):
                kind = "dim" if part == "\x1b[2m" else ""
                continue
            while part:
                row.append((part[: WIDTH - used], kind))
                part, used = part[WIDTH - used :], used + len(row[-1][0])
                if used == WIDTH and part:
                    yield row
                    row, used = [], 0
        yield row


def draw(scenes: list[tuple[str, str]]) -> str:
    """Return the SVG, which plays once. Readers who prefer reduced motion see all at once."""
    drawn: list[str] = []
    time = 0.5
    for command, text in scenes:
        drawn.append(_row(len(drawn), [("$ ", "prompt"), (command, "")], time, len(command) * TYPING))
        time += len(command) * TYPING + 0.3
        drawn += [_row(len(drawn) + place, row, time) for place, row in enumerate(_rows(text))]
        time += READING
    width, height = round(WIDTH * CHARACTER) + 2 * MARGIN, len(drawn) * LINE + 2 * MARGIN
    about = escape("A terminal in which " + ", ".join(command for command, _ in scenes) + " are run")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">\n<title>{about}</title>\n<style>{STYLE}</style>\n'
        f'<rect class="back" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _row(place: int, parts: list[tuple[str, str]], time: float, typing: float = 0.0) -> str:
    """
    Return a row.

    @param time: seconds after which it appears.
    @param typing: seconds in which the last part is typed.
    """
    y, x = MARGIN + place * LINE, float(MARGIN)
    drawn = []
    for text, kind in parts:
        length = len(text) * CHARACTER
        if text.strip():
            style = f' class="{kind}"' if kind else ""
            drawn.append(
                f'<text{style} x="{x:.1f}" y="{y + SIZE}" textLength="{length:.1f}" xml:space="preserve">'
                f"{escape(text, quote=False)}</text>"
            )
        x += length
    if typing:
        length, count = len(parts[-1][0]) * CHARACTER, len(parts[-1][0])
        drawn.append(
            f'<rect class="cover typed" x="{x - length:.1f}" y="{y}" width="{length + 1:.1f}" '
            f'height="{LINE}" style="animation-delay:{time:.2f}s;animation-duration:{typing:.2f}s;'
            f'animation-timing-function:steps({count})"/>'
        )
    return f'<g class="line" style="animation-delay:{time:.2f}s">{"".join(drawn)}</g>'


def main() -> None:
    if not shutil.which("curl"):
        sys.exit("there is no curl (Debian: apt-get install curl)")
    PICTURE.write_text(draw(record()))
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
