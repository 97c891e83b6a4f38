"""Writes C{benchmarks.md}: what was measured, how, and where."""

from collections.abc import Iterator, Mapping

from benchmarks.peers import BY_NAME
from benchmarks.results import Entry, Results
from benchmarks.workloads import WORKLOADS, Workload

SHOWN = (
    *("aiohttp", "bottle", "fastapi", "flask", "granian", "gunicorn", "httptools", "klein"),
    *("msgspec", "robyn", "sanic", "starlette", "twisted", "uvicorn", "uvloop", "waitress"),
    *("twisted-appserver", "twisted_appserver"),
)

HEAD = """\
# Benchmarks

This command lists what can be measured; without an option, it measures everything:

```console
$ python -m benchmarks --list | grep latency
  latency    get, 1 connection        p50 us             threads, ...
```

`python -m benchmarks` generates this page; do not edit it. The servers, their options and the functions are
in `benchmarks/`. Every server calls the same Python functions on the same interpreter. Each server is checked
first: its JSON must be exactly right, and the function must run where the row of the table states (in a
thread other than the main one, or in another process).

"""

HOW = """
- Load: `wrk -t1` with keep-alive sends the requests and measures. If functions run in threads, the server has
  one core and wrk another; if they run in processes, all share all cores.
- In each round every server is started, warmed up for a second, measured and stopped, one after
  another. The next round begins with the next server. A figure is the median of the rounds.
- *Ratio* is the first row's figure divided by this row's figure in the same round: the median of all
  rounds, and their range. For requests per second, a ratio above 1 means that ours does more. For latency
  and memory, a ratio below 1 means that ours needs less.
- How Python was compiled matters more than most differences here. Without profile-guided optimisation, the
  default of pyenv, code in Python is 1.5 times slower, and code in C or Rust is hardly slower. So the
  benchmarks ran with the Python that most users have, the distribution's: `/usr/bin/python3 -m benchmarks`.
- Absolute figures drift with the machine: compare figures of the same table only.
- Each peer uses its own JSON encoder. Pools have 10 threads or 2 processes, with these exceptions:
  FastAPI and Starlette have their own pool of 40 threads, Granian has 8 in each of its processes, and
  Robyn has one. Granian runs without a framework, and with our encoder.
- *ours, a constant inline* measures our HTTP code alone: it calls no function in a thread.
"""

NOTES = {
    "threads": "After a few requests that are equal byte for byte, our server no longer routes them; it "
    "still calls the function each time. The table with paths that never repeat shows the "
    "difference.",
    "cpu": "The function is a loop with a fixed count that takes 2 ms of processor time. The last row is "
    "two processes that call it in a loop without a server, beside an idle wrk.",
    "mixed": "56 connections make fast calls, first alone, then beside 8 connections with calls that sleep "
    "50 ms. There are ten threads (FastAPI: 40) or twelve processes.",
    "queues": "The same load generator for all: raw sockets, one request at a time on each of 32 "
    "connections. For multiprocessing.managers, which has no open protocol, it uses the standard "
    "proxies in 8 threads. Each request counts. SQLite, beanstalkd and Redis respond when the "
    "task is on the disk; memory and the manager's queue store nothing. Redis keeps tasks in "
    "progress in a second list (LMOVE, LREM).",
    "patterns": "The requested path matches the last entry of the table.",
    "idle": "The memory is the growth of the server's resident set, without the memory of the kernel for "
    "sockets.",
}


def number(value: float) -> str:
    """Format a figure with at least three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(entry: Entry) -> str:
    """Format the median of the ratios and their range."""
    middle = entry.ratio()
    if middle is None:
        return ""
    return f"{middle:.2f} ({min(entry.ratios):.2f}-{max(entry.ratios):.2f})"


def row(name: str, entry: Entry, figures: list[str], reference: bool) -> str:
    """Format the row of one server."""
    cells = [BY_NAME[name].title]
    for figure in figures:
        known = entry.rounds and figure in entry.rounds[0]
        cells.append(number(entry.median(figure)) if known else "")
    cells.append("" if reference else ratio(entry))
    cells.append(f"failed: {entry.failed}"[:160] if entry.failed else str(entry.errors()))
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def table(workload: Workload, entries: Mapping[str, Entry]) -> Iterator[str]:
    """Yield the lines of the section of one workload."""
    first = next((entry for entry in entries.values() if entry.rounds), None)
    figures = first.names() if first else []
    counts = sorted({len(entry.rounds) for entry in entries.values()})
    seconds = sorted({entry.seconds for entry in entries.values()})
    yield f"\n## {workload.title}\n"
    if workload.group in NOTES:
        yield NOTES[workload.group] + "\n"
    titles = ["server", *figures, f"ratio of {workload.figure}", "errors"]
    yield "| " + " | ".join(titles) + " |"
    yield "|---|" + "---:|" * (len(titles) - 1)
    for name, entry in entries.items():
        yield row(name, entry, figures, name == workload.servers[0])
    dates = sorted({entry.when for entry in entries.values()})
    yield (f"\n`{workload.path}`, {words(counts)} rounds of {words(seconds)} s, {' and '.join(dates)}.")


def words(values: list[int] | list[float]) -> str:
    """Join numbers with C{or}."""
    return " or ".join(f"{value:g}" for value in values)


def write(results: Results, picture: str) -> str:
    """
    Return the whole report.

    @param picture: the file name of the chart.
    """
    machine = results.content.get("machine", {})
    versions = results.content.get("versions", {})
    lines = [HEAD + f"![Requests per second and latency]({picture})\n", "## How it was made\n"]
    lines += [f"- {key[0].upper()}{key[1:]}: {value}" for key, value in machine.items()]
    lines.append("- " + ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions))
    lines.append(HOW.strip())
    for workload in WORKLOADS:
        if entries := results.entries(workload):
            lines += table(workload, entries)
    return "\n".join(lines) + "\n"
