"""Calls per second by the length of a function, for threads, worker processes and a Dask cluster.

C{python -m benchmarks.scaling}: prints a table, and writes it into docs/scaling.md. It takes four minutes.
"""

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scaling_page import table, write

APP = """\
import time


def busy(ms: float):
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass
    return {"done": True}


url_patterns = ((r"/busy/(?P<ms>)", busy),)
"""
TYPES = ("threaded", "forked", "cluster")
LENGTHS = (0, 1, 20, 200)  # milliseconds
SECONDS, ROUNDS, CONNECTIONS = 6, 3, 16  # long enough that calls cut off at the end hardly matter


def start(words: Sequence[str], folder: str) -> tuple[subprocess.Popen[str], int]:
    """Start the app.py of a folder with these options. Return the server and its port when it is ready."""
    words = ["--port", "0", "--app", "app.py", *words]
    process = subprocess.Popen(
        [sys.executable, "-m", "twisted_appserver", *words], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://localhost:(\d+)/", line):
            port = int(found[1])
            break
    else:
        raise SystemExit(f"a server with {words} does not start")
    while status(port) != 200:
        time.sleep(0.1)
    return process, port


def status(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/-/ready")
    return connection.getresponse().status


def calls(port: int, length: int, seconds: int) -> float:
    """Return calls per second. None may fail."""
    url = f"http://127.0.0.1:{port}/busy/{length}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"some calls failed: {said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None
    return float(found[1])


def measure() -> dict[tuple[str, int], float]:
    """Return the medians of the rounds, which are interleaved."""
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(APP)
        for _ in range(ROUNDS):
            for kind in TYPES:
                process, port = start(["--type", kind, "--workers", "2"], folder)
                try:
                    calls(port, 1, 1)
                    for length in LENGTHS:
                        found.setdefault((kind, length), []).append(calls(port, length, SECONDS))
                finally:
                    process.terminate()
                    process.wait(30)
    return {key: statistics.median(values) for key, values in found.items()}


def figures_table(figures: dict[tuple[str, int], float]) -> str:
    rows = []
    for length in LENGTHS:
        row = [figures[kind, length] for kind in TYPES]
        rows.append([f"{length} ms", *(f"{value:,.0f}" for value in row), f"{row[2] / row[1]:.2f}"])
    return table(["function", *TYPES, "cluster / forked"], rows)


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__).parse_args()
    write("measured", figures_table(measure()))


if __name__ == "__main__":
    main()
