"""Runs wrk and reads its output."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.machine import Cores

HERE = Path(__file__).resolve().parent
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
PERCENTILE = re.compile(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m|h)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """
    The output of wrk.

    @ivar rate: responses per second.
    @ivar latency: seconds, by percentile (50, 75, 90, 99).
    @ivar errors: responses other than 2xx and 3xx, and failed sockets, together.
    """

    rate: float
    latency: dict[int, float]
    errors: int


def parse(text: str) -> Sample:
    """
    Parse the output of wrk.

    @raise ValueError: when it has no rate.
    """
    rate = RATE.search(text)
    if rate is None:
        raise ValueError(f"wrk did not measure anything: {text.strip()}")
    latency = {int(percent): float(value) * UNITS[unit] for percent, value, unit in PERCENTILE.findall(text)}
    errors = ERRORS.search(text)
    refused = REFUSED.search(text)
    count = sum(int(number) for number in errors.groups()) if errors else 0
    return Sample(float(rate[1]), latency, count + (int(refused[1]) if refused else 0))


class Load:
    """A wrk with one thread. It starts at once."""

    def __init__(
        self,
        url: str,
        connections: int,
        seconds: float,
        cores: Cores,
        script: str | None = None,
    ) -> None:
        whole = max(1, round(seconds))
        command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s"]
        if script:
            command += ["-s", str(HERE / script)]
        self.seconds = whole
        self.process = subprocess.Popen(
            [*machine.pin(cores), *command, url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def result(self) -> Sample:
        """Wait until it ends, and parse its output."""
        try:
            text, _ = self.process.communicate(timeout=self.seconds + 30)
        finally:
            self.stop()
        return parse(text)

    def stop(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
