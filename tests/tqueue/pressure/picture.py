"""Draws the rate and the dead rows of scenarios over time.

Run where matplotlib is: C{python -m tests.tqueue.pressure.picture COURSES PICTURE}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RATE, DEAD, DISTURBED = "#c0392b", "#7f8c8d", "#f9e79f"


def draw(axes: Any, name: str, course: dict[str, Any]) -> None:
    """Draw a scenario: the rate on the left axis, dead rows on the right one, the disturbance shaded."""
    axes.axvspan(course["begin"], course["end"], color=DISTURBED)
    rates = course["rates"]
    axes.plot([second + 0.5 for second in range(len(rates))], rates, color=RATE, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.set_title(name, fontsize=9)
    axes.set_ylabel("tasks/s", fontsize=7, color=RATE)
    right = axes.twinx()
    right.plot(
        [at for at, _ in course["dead_rows"]], [dead for _, dead in course["dead_rows"]],
        color=DEAD, linewidth=1.2,
    )  # fmt: skip
    right.set_ylim(bottom=0)
    right.set_ylabel("dead rows", fontsize=7, color=DEAD)
    for each in (axes, right):
        each.tick_params(labelsize=7)


def main(source: Path, picture: Path) -> None:
    """Read the courses and write the picture; its format is that of its name."""
    import matplotlib  # type: ignore[import-not-found,unused-ignore]

    matplotlib.use("Agg")
    from matplotlib import pyplot  # type: ignore[import-not-found,unused-ignore]

    courses = json.loads(source.read_text())
    figure, axes = pyplot.subplots(
        len(courses), figsize=(8, 1.9 * len(courses)), squeeze=False, layout="constrained"
    )
    for place, (name, course) in zip(axes[:, 0], courses.items(), strict=True):
        draw(place, name, course)
    axes[-1, 0].set_xlabel("seconds", fontsize=7)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
