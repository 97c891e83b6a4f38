"""Runs scenarios: python -m tests.tqueue.pressure --help"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import subprocess
import sys
import tempfile
from math import inf
from pathlib import Path

from benchmarks import environment
from tests.support.forks import ROOT
from tests.support.queue_processes import LOADS
from tests.tqueue.pressure.outcome import HEADINGS
from tests.tqueue.pressure.run import Course, Settings, run
from tests.tqueue.pressure.scenarios import SCENARIOS
from tests.tqueue.pressure.stage import start_database


def names(text: str) -> list[str]:
    """Parse names of scenarios, separated by commas."""
    found = text.split(",")
    if unknown := [name for name in found if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tqueue.pressure",
        description="Test two TQueueSrv over one PostgreSQL under pressure.",
    )
    parser.add_argument(
        "--scenarios", type=names, default=list(SCENARIOS), metavar="NAMES",
        help=f"only these, separated by commas; of {', '.join(SCENARIOS)}",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=0.5, help="length of each disturbance (default: 0.5)"
    )
    parser.add_argument(
        "--rate", type=float, default=inf,
        help="tasks per second to put before and after a disturbance (default: as many as possible). With "
        "other work on the machine, a low rate shows better whether it is kept",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--type", choices=list(LOADS), default="plain", help="the tasks (default: plain)")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="draw rates and dead rows; SVG or PNG")
    return parser.parse_args()


def plot(courses: dict[str, Course], picture: Path) -> None:
    """Draw the courses with matplotlib, in the environment of the benchmarks if it is not in this one."""
    python = sys.executable
    if importlib.util.find_spec("matplotlib") is None:
        environment.install_peers()
        python = str(environment.BIN / "python")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as source:
        json.dump({name: dataclasses.asdict(course) for name, course in courses.items()}, source)
        source.flush()
        command = [python, "-m", "tests.tqueue.pressure.picture", source.name, str(picture.resolve())]
        subprocess.run(command, check=True, cwd=ROOT)


def main() -> int:
    """Run the scenarios. Return 1 if one of them fails."""
    given = arguments()
    settings = Settings(disturbance=60 * given.minutes, rate=given.rate, seed=given.seed, kind=given.type)
    courses, failed = {}, False
    print(HEADINGS, flush=True)
    database = start_database()
    try:
        for name in given.scenarios:
            outcome, course = run(name, settings, database)
            failed |= bool(outcome.problems)
            print(outcome.line(), flush=True)
            if course is not None:
                courses[name] = course
    finally:
        database.remove()
    if given.plot and courses:
        plot(courses, given.plot)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
