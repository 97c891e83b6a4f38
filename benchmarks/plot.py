"""
Draws C{benchmarks.png}: a bar chart of the main figures.

Run in the benchmark's own environment, where matplotlib is: C{python -m benchmarks.plot RESULTS
PICTURE}.
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import BY_NAME
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS, Workload

DRAWN = (("threads", "get"), ("processes", "get"), ("latency", "get, 1 connection"), ("cpu", "cpu"))
OURS = "#c0392b"
PEERS = "#7f8c8d"


def draw(axes: Any, workload: Workload, results: Results) -> None:
    """Draw one workload: a bar for each server, the best on top, ours in another colour."""
    entries = [
        (entry.median(workload.figure), name)
        for name, entry in results.entries(workload).items()
        if entry.rounds
    ]
    entries.sort(reverse=workload.better == "less")
    axes.barh(
        [BY_NAME[name].title.replace("**", "") for _, name in entries],
        [value for value, _ in entries],
        color=[OURS if BY_NAME[name].ours else PEERS for _, name in entries],
    )
    for position, (value, _) in enumerate(entries):
        axes.text(value, position, f" {value:,.0f}", va="center", fontsize=7)
    axes.set_title(f"{workload.title}\n{workload.figure}, {workload.better} is better", fontsize=9)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.15)


def main(source: Path, picture: Path) -> None:
    """Read the results and write the chart."""
    import matplotlib  # type: ignore[import-not-found,unused-ignore]

    matplotlib.use("Agg")
    from matplotlib import pyplot  # type: ignore[import-not-found,unused-ignore]

    results = Results(source).load()
    drawn = [one for one in WORKLOADS if (one.group, one.name) in DRAWN and results.entries(one)]
    if not drawn:
        return
    height = sum(1 + 0.25 * len(results.entries(one)) for one in drawn)
    ratios = [1 + len(results.entries(one)) for one in drawn]
    figure, axes = pyplot.subplots(
        len(drawn),
        figsize=(8, height),
        squeeze=False,
        gridspec_kw={"height_ratios": ratios},
        layout="constrained",
    )
    for place, workload in zip(axes[:, 0], drawn, strict=True):
        draw(place, workload, results)
    figure.savefig(picture, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
