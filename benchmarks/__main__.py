"""The command line of the benchmarks."""

import argparse
import dataclasses
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import environment, machine, measure, report
from benchmarks.peers import BY_NAME
from benchmarks.results import Results
from benchmarks.rounds import Group
from benchmarks.workloads import GROUPS, WORKLOADS, Workload

HERE = Path(__file__).resolve().parent
QUICK_GROUPS = "threads,latency,processes,cpu,mixed,idle,queues"
QUICK_SERVERS = "threads,limit,granian,sanic,aiohttp,fastapi,processes,aiohttp-pool,bare,"
QUICK_SERVERS += "tqueue-sqlite,tqueue-memory,beanstalkd,redis,managers"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--groups", help="of workloads, with commas between (default: all)")
    add("--only", help="servers, with commas between; those they are compared with run too")
    add("--rounds", type=int, default=5, help="how often (default: 5)")
    add("--seconds", type=float, default=3.0, help="for one measurement (default: 3)")
    add("--quick", action="store_true", help="the ratios that matter most, 2 seconds each")
    add("--output", type=Path, default=HERE.parent / "docs", help="folder of the report")
    add("--results", type=Path, default=HERE / "results.json", help="file of the figures")
    add("--list", action="store_true", help="list groups, workloads and servers")
    add("--report-only", action="store_true", help="write the report of what was measured before")
    add("--no-install", action="store_true", help="run what is installed in benchmarks/.venv")
    add("--force", action="store_true", help="run on a busy machine too")
    options = parser.parse_args(arguments)
    if options.quick:
        options.groups = options.groups or QUICK_GROUPS
        options.only = options.only or QUICK_SERVERS
        options.seconds = min(options.seconds, 2.0)
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1")
    options.groups = chosen(parser, "--groups", options.groups, GROUPS)
    options.only = chosen(parser, "--only", options.only, tuple(BY_NAME))
    return options


def chosen(
    parser: argparse.ArgumentParser, option: str, text: str | None, known: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the names in an option, or all names if it is not given."""
    names = tuple(text.split(",")) if text else known
    for name in names:
        if name not in known:
            parser.error(f"{option}: {name!r} is none of {', '.join(known)}")
    return names


def plan(groups: Sequence[str], only: Sequence[str]) -> list[Workload]:
    """Return the workloads to run, each with the chosen servers and its reference server."""
    planned = []
    for workload in WORKLOADS:
        wanted = [name for name in workload.servers if name in only]
        if workload.group in groups and wanted:
            servers = dict.fromkeys([workload.servers[0], *wanted])
            planned.append(dataclasses.replace(workload, servers=tuple(servers)))
    return planned


def minutes(planned: Sequence[Workload], rounds: int, seconds: float) -> float:
    """Estimate how many minutes the run takes."""
    total = 0.0
    for one in planned:
        runs = {"plain": 1, "mixed": 2, "idle": 2, "queue": 1, "filled": 2}[one.kind]
        extra = {"plain": 2.0, "mixed": 3.5, "idle": 6.0, "queue": 3.0, "filled": 90.0}[one.kind]
        shared = 0.3 if one.name == "large" else extra
        each = shared + runs * round(seconds * one.share)
        total += len(one.servers) * min(rounds, one.rounds) * each
    return total / 60


def catalogue() -> str:
    """Return the text that lists groups and servers."""
    lines = ["groups and workloads:"]
    for one in WORKLOADS:
        lines.append(f"  {one.group:10} {one.name:24} {one.figure:18} {', '.join(one.servers)}")
    lines.append("servers:")
    lines += [f"  {one.name:18} {one.place:8} {one.title}" for one in BY_NAME.values()]
    return "\n".join(lines)


def run(options: argparse.Namespace, results: Results) -> None:
    """Measure the chosen workloads, and save the results of each group."""
    planned = plan(options.groups, options.only)
    spent = minutes(planned, options.rounds, options.seconds)
    print(f"{len(planned)} workloads, about {spent:.0f} minutes", flush=True)
    results.describe(machine.describe(), environment.versions())
    loops = results.content.setdefault("cpu_loops", measure.calibrate())
    machine.raise_limits()
    for name in dict.fromkeys(one.group for one in planned):
        workloads = [one for one in planned if one.group == name]
        group = Group(workloads, options.rounds, options.seconds, loops)
        for text in group.run():
            print(text, flush=True)
        today = datetime.now(UTC).date().isoformat()
        for one in workloads:
            series = {server: found for (work, server), found in group.series.items() if work == one.name}
            results.put(one, series, today, max(1, round(options.seconds * one.share)))
        results.save()


def write_report(results: Results, folder: Path) -> None:
    """Write the report and the chart."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "benchmarks.png"
    (folder / "benchmarks.md").write_text(report.write(results, picture.name))
    python = str(environment.BIN / "python")
    command = [python, "-m", "benchmarks.plot", str(results.path.resolve()), str(picture.resolve())]
    subprocess.run(command, cwd=HERE.parent, check=True)
    print(f"written: {folder / 'benchmarks.md'}")


def terminate(number: int, frame: object) -> None:
    """Raise an exception, so that running servers are stopped."""
    raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    options = parse(arguments)
    if options.list:
        print(catalogue())
        return 0
    with machine.lock(HERE / ".lock"):
        results = Results(options.results).load()
        if not options.no_install:
            environment.install_peers()
        if not options.report_only:
            if not options.no_install and (reason := environment.install_project()):
                print(f"our own servers may be old or missing: {reason}", file=sys.stderr)
            if (reason := machine.complaint()) and not options.force:
                print(f"{reason}; wait, or say --force", file=sys.stderr)
                return 1
            if reason:
                print(f"{reason}: these figures mean little", file=sys.stderr)
            run(options, results)
        write_report(results, options.output)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    try:
        sys.exit(main(sys.argv[1:]))
    except BlockingIOError:
        sys.exit("another run of the benchmarks is under way")
    except KeyboardInterrupt:
        sys.exit("stopped")
