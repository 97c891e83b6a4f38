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

Made by `python -m benchmarks`; do not edit. The servers, their options and the functions that they
call are in `benchmarks/`. Every server calls the same Python functions on the same interpreter, and
is checked first: the JSON must be exactly right, and the function must really run where its row
says (in a thread that is not the main one, or in another process).

"""

HOW = """
- Load: `wrk -t1`, keep-alive, its own figures. Where functions run in threads, the server has one
  core and wrk another; where they run in processes, all share all cores.
- In each round every server is started, warmed up for a second, measured and stopped, one after
  another, and the next round begins with the next server. A figure is the median of the rounds.
- *Ratio* is the first row's figure divided by this row's, for each round by itself; the median of
  these, and their range. For requests a second, above 1 means that ours does more. For latency and
  memory, below 1 means that ours needs less.
- How Python was compiled matters more than most of what is compared here: without profile-guided
  optimisation (as pyenv compiles it unless told otherwise) it runs Python 1.5 times slower, which slows
  down what is written in Python, and hardly what is not. So this was run with one that is made as most
  users have it: `/usr/bin/python3 -m benchmarks`, the Python of the distribution.
- Absolute figures drift with the machine: compare within a table only.
- Each peer uses its own JSON encoder. Pools are of 10 threads or of 2 processes, except that
  FastAPI and Starlette keep their own pool of 40, Granian has 8 in each of its processes, and Robyn
  uses one. Granian gets no framework in its way, and our encoder.
- *ours, a constant inline* is what our channel alone can do: it calls no function in a thread.
"""

NOTES = {
    "threads": "Of requests that are the same to the last byte, ours knows after a few how to route them; "
    "the function is called each time. The table of paths that are never the same shows what that gives.",
    "cpu": "The function is a loop of a fixed count that takes 2 ms of processor time. The last "
    "row is two processes that call it in a loop with no server, beside a wrk that waits.",
    "mixed": "56 connections make fast calls, first alone, then beside 8 connections whose every "
    "call sleeps 50 ms. Ten threads (FastAPI 40), or twelve processes.",
    "queues": "One load generator for all: raw sockets, one request at a time on each of 32 connections; "
    "for multiprocessing.managers, which has no open protocol, its own proxies in 8 threads. Each request "
    "counts. SQLite, beanstalkd and Redis answer when the disk has it; memory and the manager's queue keep "
    "nothing. Redis keeps what is worked on in a second list (LMOVE, LREM).",
    "patterns": "The path asked for is the last of the table.",
    "idle": "The memory is what the resident set of the server grew by; what the kernel keeps for "
    "a socket is not in it.",
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
    lines = [HEAD + f"![Requests a second and latency]({picture})\n", "## How it was made\n"]
    lines += [f"- {key[0].upper()}{key[1:]}: {value}" for key, value in machine.items()]
    lines.append("- " + ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions))
    lines.append(HOW.strip())
    for workload in WORKLOADS:
        if entries := results.entries(workload):
            lines += table(workload, entries)
    return "\n".join(lines) + "\n"
